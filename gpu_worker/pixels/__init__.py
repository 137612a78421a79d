"""Arithmetic on pixels, and where big pictures live, that steps, engines and codec
share.
"""
