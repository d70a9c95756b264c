"""From grids and outlines to series of glaciers, (glacier, time)."""
