"""The pan of the dry signal."""
