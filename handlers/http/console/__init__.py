"""The console: the page on which people bring photos and see them come back."""
