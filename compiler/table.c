/* table.c - a hash table from strings to entries that stay where they are.
 *
 * Requires: keys that live as long as the table. Establishes: constant-time lookup for the names of 100,000 layers.
 * Open addressing over pointers, at most half full; the arena keeps the smaller tables that were outgrown.
 */
#include <string.h>

#include "expand.h"

/* FNV-1a, 64 bit: http://www.isthe.com/chongo/tech/comp/fnv */
static uint64_t hash(const char *key)
{
    uint64_t h = 14695981039346656037u;
    for (; *key; key++)
        h = (h ^ (unsigned char)*key) * 1099511628211u;
    return h ^ h >> 32;
}

/* The slot that holds `key`, or the free one where it belongs. Requires a slot that is free. */
static TableEntry **slot_of(const Table *t, const char *key)
{
    uint64_t mask = (uint64_t)t->capacity - 1;
    for (uint64_t i = hash(key) & mask;; i = (i + 1) & mask)
        if (t->slots[i] == NULL || strcmp(t->slots[i]->key, key) == 0)
            return &t->slots[i];
}

static void grow(Arena *arena, Table *t)
{
    Table bigger = {.count = t->count, .capacity = t->capacity ? 2 * t->capacity : 16};
    bigger.slots = NEW_ARRAY(arena, TableEntry *, bigger.capacity);
    for (int i = 0; i < t->capacity; i++)
        if (t->slots[i])
            *slot_of(&bigger, t->slots[i]->key) = t->slots[i];
    *t = bigger;
}

TableEntry *table_find(const Table *t, const char *key)
{
    return t->capacity ? *slot_of(t, key) : NULL;
}

TableEntry *table_put(Arena *arena, Table *t, const char *key)
{
    if (2 * (t->count + 1) > t->capacity)
        grow(arena, t);
    TableEntry **slot = slot_of(t, key);
    if (*slot == NULL) {
        *slot = NEW(arena, TableEntry);
        (*slot)->key = key;
        t->count++;
    }
    return *slot;
}
