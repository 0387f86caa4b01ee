#include "services/archive-manager/service.h"

int main(int argc, char **argv)
{
	return process_main(&archive_service, argc, argv);
}
