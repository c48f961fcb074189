"""Saturation: a static waveshaper, computed at eight places between samples."""
