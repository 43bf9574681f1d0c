"""Help when posting: what is in the photo, words for it, whether it was posted already, and whether it is dark or blurred. All of it suggestions, which people take or drop."""
