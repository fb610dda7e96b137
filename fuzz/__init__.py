"""Fuzzing: whatever bytes a reader gets, it reads them or refuses them with a reason."""
