"""Programs that engines start through the Tools port, as `python -m lutlab_verify.inside.<name>`.

They read files of people who are not trusted, so they run where tools run, never in a service's process. They import
nothing of ours outside of this package, which keeps their start short.
"""
