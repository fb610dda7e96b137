"""Questions to a model: what its metrics are at many values of its parameters, and where a goal is met."""
