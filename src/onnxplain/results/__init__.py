"""What a user holds: explanations of a photo, of a table's row and of a text; sheets and pages of many."""
