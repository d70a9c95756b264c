"""One page that shows a run: bokeh charts and tables in a single file that asks no network for anything."""
