"""The steps of the loop: publish a model, run it, export, import, verify that nothing was lost."""
