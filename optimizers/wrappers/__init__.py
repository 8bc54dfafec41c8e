"""Wrappers: one file for each, which change what any other optimizer's rule does."""
