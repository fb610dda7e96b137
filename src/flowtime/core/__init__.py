"""Pure values: grids, series, distributions, formulas, graphs, hashes. No files, no clock."""
