"""The watchdog of a stack: it looks whether services are well, brings those back that are not, and knows when to stop.

look       what runs now, and what it takes
reach      ports and probes, asked
examine    which services are not well, and how    (pure)
care       what to do about it, and when           (pure)
evidence   what is to be seen before it is gone
heal       restart, force, recreate
watch      all of it, round after round
"""
