#include "services/archive-manager/machine.h"

/* Old state, event, new state. What has no row here does not happen. */
static const struct {
	enum archive_state from;
	enum machine_event event;
	enum archive_state to;
} moves[] = {
    {archive_state_none, MACHINE_ADD, ARCHIVE_COPYING},       {ARCHIVE_COPYING, MACHINE_START_OVER, ARCHIVE_COPYING},
    {ARCHIVE_COPYING, MACHINE_COPIED, ARCHIVE_VERIFYING},     {ARCHIVE_COPYING, MACHINE_REMOVE, ARCHIVE_REMOVING},
    {ARCHIVE_COPYING, MACHINE_FAIL, ARCHIVE_FAILED},          {ARCHIVE_VERIFYING, MACHINE_START_OVER, ARCHIVE_COPYING},
    {ARCHIVE_VERIFYING, MACHINE_VERIFIED, ARCHIVE_ARCHIVED},  {ARCHIVE_VERIFYING, MACHINE_REMOVE, ARCHIVE_REMOVING},
    {ARCHIVE_VERIFYING, MACHINE_FAIL, ARCHIVE_FAILED},        {ARCHIVE_ARCHIVED, MACHINE_ADD, ARCHIVE_COPYING},
    {ARCHIVE_ARCHIVED, MACHINE_CHECK, ARCHIVE_VERIFYING},     {ARCHIVE_ARCHIVED, MACHINE_DETACH, ARCHIVE_DETACHING},
    {ARCHIVE_ARCHIVED, MACHINE_RESTORE, ARCHIVE_RESTORING},   {ARCHIVE_ARCHIVED, MACHINE_REMOVE, ARCHIVE_REMOVING},
    {ARCHIVE_DETACHING, MACHINE_START_OVER, ARCHIVE_COPYING}, {ARCHIVE_DETACHING, MACHINE_DETACHED, ARCHIVE_ARCHIVED},
    {ARCHIVE_DETACHING, MACHINE_FAIL, ARCHIVE_FAILED},        {ARCHIVE_RESTORING, MACHINE_RESTORED, ARCHIVE_ARCHIVED},
    {ARCHIVE_RESTORING, MACHINE_FAIL, ARCHIVE_FAILED},        {ARCHIVE_REMOVING, MACHINE_REMOVED, archive_state_none},
    {ARCHIVE_REMOVING, MACHINE_FAIL, ARCHIVE_FAILED},         {ARCHIVE_FAILED, MACHINE_ADD, ARCHIVE_COPYING},
    {ARCHIVE_FAILED, MACHINE_CHECK, ARCHIVE_VERIFYING},       {ARCHIVE_FAILED, MACHINE_RESTORE, ARCHIVE_RESTORING},
    {ARCHIVE_FAILED, MACHINE_REMOVE, ARCHIVE_REMOVING},
};

struct machine_move machine_next(enum archive_state from, enum machine_event event)
{
	for (size_t i = 0; i < ARRAY_SIZE(moves); i++)
		if (moves[i].from == from && moves[i].event == event)
			return (struct machine_move){true, moves[i].to};
	return (struct machine_move){false, from};
}

bool machine_is_settled(enum archive_state state)
{
	return state == ARCHIVE_ARCHIVED || state == ARCHIVE_FAILED || state == archive_state_none;
}

const char *machine_event_name(enum machine_event event)
{
	static const char *const names[MACHINE_EVENTS] = {
	    [MACHINE_NOTHING] = "nothing",   [MACHINE_ADD] = "add",           [MACHINE_START_OVER] = "start over",
	    [MACHINE_COPIED] = "copied",     [MACHINE_CHECK] = "check",       [MACHINE_VERIFIED] = "verified",
	    [MACHINE_DETACH] = "detach",     [MACHINE_DETACHED] = "detached", [MACHINE_RESTORE] = "restore",
	    [MACHINE_RESTORED] = "restored", [MACHINE_REMOVE] = "remove",     [MACHINE_REMOVED] = "removed",
	    [MACHINE_FAIL] = "fail",
	};

	return event < MACHINE_EVENTS ? names[event] : "unknown";
}
