"""The pages: each module handles the requests of one, and its templates are in `templates/`."""
