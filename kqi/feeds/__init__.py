"""Feeds as files: measurement files of the network, tables and lines of samples, and how healthy a feed is.

Reading (`reading.read_file`) is pure over a binary stream and yields items one by one; storing
(`importing.import_file`) hands them to the same group commit that `POST /v1/samples` uses. What each format means
is told in `docs/feeds.md`.
"""
