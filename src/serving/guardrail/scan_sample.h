/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain text as services see it: talk, questions, reports, lists, some numbers,
 * some code.  What a scan looks for is sorted so that it names few places in
 * such text; nothing depends on it but speed.
 */
#pragma once

static const char scan_sample[] =
	"Hello! I am looking for a small gift for my sister, who is turning thirty next week. She likes gardening, old "
	"movies and strong coffee, but she already has more cups than she can ever use. Do you have any ideas that "
	"would not cost more than about 40 dollars?\n"
	"Sure, here are some thoughts. You could give her a book about herbs together with a few seeds, or tickets for "
	"the open air cinema. If she has time on Sunday mornings, a class on how to roast coffee might be fun too. Let "
	"me know if you would like to see other options.\n"
	"What is the difference between weather and climate, and why do people mix them up so often? Please explain it "
	"as simply as possible, in less than 200 words.\n"
	"The second world war changed the region in many ways. Its industry had been rebuilt by 1952, and during the "
	"following years the population grew from 12,400 to almost 31,000. Several schools, a public library and the "
	"first hospital were opened under mayor John Peterson, who served until his death in March 1968. According to "
	"the city, most of those buildings are still in use today.\n"
	"I don't think that's right. When I called the bank yesterday, they told me that my account was still active "
	"and that the payment should be there within three days. Could someone please check what happened? It has "
	"been nearly two weeks now, and nobody seems to know anything about it. Thanks in advance, Anna\n"
	"Once upon a time there was a young prince who lived far away from everyone, because he did not want to be "
	"king. Every night he looked out over the dark forest and wondered whether another life was waiting for him "
	"behind the mountains. \"Perhaps tomorrow,\" he said, and closed the window again.\n"
	"1. Heat the oven to 180 degrees. 2. Mix the flour with sugar, salt and butter. 3. Add the eggs one after the "
	"other, then stir in the milk. 4. Pour everything into a form and bake it for 45 minutes.\n"
	"You're welcome! However, I'd recommend that you also read the article again before you post your reply; it "
	"seems that some of its sources have been removed since then, which is against our rules on this page. I "
	"would rather work with other users than fight against them, so let us discuss it here first.\n"
	"SELECT name, COUNT(*) FROM orders WHERE created_at > '2023-04-01' GROUP BY name; -- then print the result\n"
	"for (int i = 0; i < size; i++) { if (values[i] == NULL) return false; }  // nothing was found\n"
	"{\"id\": 17, \"status\": \"pending\", \"items\": [\"apple\", \"pear\"], \"total\": 12.50, \"paid\": true}\n"
	"How can I keep my house plants alive while I am on holiday for 10 days? Which of my plants should I give to "
	"the neighbours, and how often would they have to be watered?\n"
	"The company said on Thursday that its profit had fallen by 8 percent over the last quarter, mainly because of "
	"higher prices for energy and transport. Analysts had expected less. Shares lost ground in early trading but "
	"came back before noon, after the board had promised to save another $300 million by the end of the year.\n"
	"can u play some music pls, something slow... and remind me to pick up the kids at half past four!! also how "
	"long is the drive from here to the airport right now\n"
	"As a captain I must always put the safety of my passengers and crew above everything else. We were sailing "
	"through a heavy storm last night when the engine stopped working, but thanks to the skill of our engineer we "
	"got it running again just before the ship hit the rocks.\n"
	"Yes, it is possible to learn a language without a teacher, although it takes more discipline. Start with the "
	"words that you need most, listen as much as you can, and speak from the very first day on. What kind of "
	"methods have you tried so far, and what did you not like about them?\n";
