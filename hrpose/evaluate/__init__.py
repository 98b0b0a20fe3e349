"""Measures of how right the results are."""
