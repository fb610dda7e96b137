"""Templates and parameters to model documents."""
