"""Reading images and labels, and cutting them into patches."""
