/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the chat enums.  They stand in answers and in the historical log: renaming one breaks whoever reads those.
 */
#include "domain/chat.h"

const char *chat_finish_name(enum chat_finish f)
{
	switch (f) {
	case CHAT_FINISH_NONE:
		return "";
	case CHAT_FINISH_STOP:
		return "stop";
	case CHAT_FINISH_LENGTH:
		return "length";
	case CHAT_FINISH_TOOL_CALLS:
		return "tool_calls";
	case CHAT_FINISH_CONTENT_FILTER:
		return "content_filter";
	case CHAT_FINISH_STOP_SEQUENCE:
		return "stop_sequence";
	case CHAT_FINISH_REFUSAL:
		return "refusal";
	case CHAT_FINISH_PAUSE:
		return "pause";
	}
	return "";
}

const char *chat_role_name(enum chat_role r)
{
	switch (r) {
	case CHAT_SYSTEM:
		return "system";
	case CHAT_USER:
		return "user";
	case CHAT_ASSISTANT:
		return "assistant";
	case CHAT_TOOL:
		return "tool";
	}
	return "";
}
