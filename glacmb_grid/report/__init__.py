"""Texts for people, made from tables of results."""
