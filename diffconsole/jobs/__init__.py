"""What the commands do with files: process, apply, match; what Python users call as well."""
