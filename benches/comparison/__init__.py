"""What `benches/compare` is made of. From the bottom up:

processes   programs that run beside the comparison: their end, processor time and memory
plan        how much there is to do, whole or quick
peers       the servers, each configured and started
clients     the commands that are timed
works       what is measured on folders, sessions (idle sessions), bucket (what is measured on a real S3 server)
noise       whether the machine was quiet enough
figures     medians, spreads, ratios, targets
document    docs/PERFORMANCE.md; plots: its SVG files
run         the order of it all
"""
