"""Samples and requests into minutes, minutes into hours, in SQL.

`steps` says what is to be done next and does it, one short transaction at a time; `marks` is told of rows that come late. The
others each know one kind. Nothing outside `storage` imports it.
"""
