"""A run as one page that opens anywhere; knows figures and texts, no models and no commands."""
