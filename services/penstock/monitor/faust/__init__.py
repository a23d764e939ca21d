"""The monitor on Faust: at least once from the broker, exactly once in effect. Home of faust, mode, aiokafka.

Importing this package imports none of them; `penstock.monitor.faust.serve` does.
"""
