"""Grid and outlines in, (glacier, time) out."""
