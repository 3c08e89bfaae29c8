"""A plan in the forms that leave the project: configurations, options of engines, GGUF, and plan.json."""
