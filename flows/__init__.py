"""When and in what order the stages run: Prefect flows, retries, schedules, events. Never imports torch or sheap."""
