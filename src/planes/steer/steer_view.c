#include "steer_view.h"

#include <stdlib.h>

void steer_view_free(struct steer_view *view)
{
	if (!view)
		return;
	for (size_t i = 0; view->groups && i < view->group_count; i++)
		free(view->groups[i].members);
	free(view->groups);
	free(view);
}
