"""Training recipes and the loop that runs them: any method with any recipe, under one counted budget of tokens."""
