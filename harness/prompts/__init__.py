"""Prompts: kept once, written for other harnesses."""
