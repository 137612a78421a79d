"""Arithmetic on pixels and storage of big pictures, shared by steps, engines and codec."""
