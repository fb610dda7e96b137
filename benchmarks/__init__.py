"""How fast flowtime is, as ratios to the least work that does the same, measured in the same run."""
