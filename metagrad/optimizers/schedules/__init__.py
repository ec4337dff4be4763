"""Schedules of few parameters, one file each; `Following` lets a hyper-parameter follow one."""
