#include "services/catalog/budget.h"

size_t budget_text_size(const char *text)
{
	size_t size = 4; /* quotes, comma, colon */

	for (; text && *text; text++)
		size += (unsigned char)*text < 0x20 ? 6 : *text == '"' || *text == '\\' ? 2 : 1;
	return size;
}

bool budget_take(struct budget *b, size_t texts)
{
	size_t size = texts + BUDGET_ITEM;

	if (size > b->left && b->used)
		return false;
	b->left -= MIN(size, b->left);
	b->used = true;
	return true;
}

bool budget_take_texts(struct budget *b, const struct proto_texts *texts)
{
	size_t size = 0;

	for (size_t i = 0; i < texts->count; i++)
		size += budget_text_size(texts->items[i]);
	return budget_take(b, size);
}
