"""The regression gate: are two stores alike in their conditions (conditions.py), and is no group of tests worse?"""
