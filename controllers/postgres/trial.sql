-- Does to the management table what a rotation does. What keeps it from that is told now, and not by the first rotation. The table's own code runs
-- here, and is undone before COMMIT with whatever it has put off until then.
savepoint trial;
select tenant_credentials.require_no_problem(tenant_credentials.try_management());
rollback to savepoint trial;
