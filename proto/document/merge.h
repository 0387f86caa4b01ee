/*
 * merge: what a stack of layers shows, from their files documents.
 *
 * The rules, for a path P, layers counted from the bottom:
 *  - a whiteout of P in layer i hides P and what is below it in layers under i, never in i itself;
 *  - an opaque P in layer i hides what is below P in layers under i;
 *  - anything but a directory at P in layer i hides P, and what is below P, in layers under i;
 *  - a directory over a directory: the upper one's attributes, the children of both; an implied directory has the
 *    attributes of the directory under it;
 *  - a hard link to a lower layer's file is that file as the layers below the link's show it. One that finds nothing
 *    stays a hard link in the result.
 *
 * This is what unpacking the layers one after the other gives (checked as a property against umoci), and it does not
 * depend on the order of entries within a layer except where unpacking depends on it, too (an entry replaces an earlier
 * one of the same path). Four things are decided otherwise, or where unpackers differ among themselves:
 *  - A symbolic link of a lower layer is data and not followed. An entry below such a path replaces the link by a
 *    directory, as overlay file systems do it; containerd and umoci would write through the link. (Links of the same
 *    layer are followed when its documents are made; there all unpackers agree.)
 *  - Whiteouts work whatever their position in the tar; a directory whited out and implied by the same layer has
 *    default attributes in either order.
 *  - aufs' own names (.wh..wh.plnk and so on) are no part of a layer.
 *  - The root directory's entry, if a layer has one, is in the result as ".".
 *
 * Memory does not depend on the size of the documents, only on the number of layers and, where layers hard-link lower
 * layers' files, on the number of such links.
 */
#ifndef PROTO_DOCUMENT_MERGE_H
#define PROTO_DOCUMENT_MERGE_H

#include "proto/document/files.h"

#define MERGE_LAYERS_MAX 1024
#define MERGE_LINKS_MAX 100000 /* hard links across layers in one image */

struct merge_layer {
	struct files_source source;
	bool no_links; /* known to have no hard link to lower layers: saves a pass */
};

/* One visible entry, in component order; layer is where it comes from. Types w and o never appear. An error stops the
 * merge and is passed on. */
typedef enum err_code (*merge_emit)(void *arg, size_t layer, const struct files_entry *entry, struct err *e);

/* layers[0] is the bottom one. */
enum err_code merge_run(const struct merge_layer *layers, size_t count, merge_emit emit, void *arg,
                        struct err *e) MUST_CHECK;

/* Is the entry that layer has at path visible, and if not, which layer hides it? Answered from the documents of the
 * layers above alone, each read at most once, and only when some path of a lower layer is asked for; of those documents
 * only lines near the paths are looked at. Order of the questions does not matter.
 *
 * Whether a layer hides a path is a matter of that layer and the path alone. So the answers for a stack are answers for
 * each stack with the same lowest layers, too: where hidden_by is one of those layers. */
#define MERGE_VISIBLE SIZE_MAX

struct merge_question {
	const char *path; /* normalised */
	size_t layer;
	size_t hidden_by; /* the answer: the lowest layer above that hides it; MERGE_VISIBLE: none */
};

/* known: so many of the lowest layers were asked about before. Questions about them hold the answer for a stack of only
 * these already, and their documents are not read again. 0: no question holds one. */
enum err_code merge_visible(const struct merge_layer *layers, size_t count, size_t known,
                            struct merge_question *questions, size_t question_count, struct err *e) MUST_CHECK;

#endif
