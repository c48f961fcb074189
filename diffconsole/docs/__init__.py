"""The documentation: its pages, and what is generated for them when the site is built."""
