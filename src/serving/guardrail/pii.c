/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structured personal data.  A recogniser is a function that is asked about
 * one start: it answers with the length of the match there, with 0, or with
 * MORE when bytes that have not come yet could change the answer.  It is asked
 * only at starts that look right (a digit, '+', '(', a capital, or the word
 * before an '@'), which a scan (scan.h) names, so clean prose costs next to nothing.  A rule takes
 * the longest answer of its recognisers and goes on behind it; at MORE it stops
 * and asks again when there is more text.
 *
 * Every recogniser is bounded: e-mail 254 bytes, IBAN 42, card 37, phone 24.
 */
#include "serving/guardrail/guard_internal.h"

#define MORE (-1)
#define END 256	    /* behind the last byte of a text that is over */
#define UNKNOWN 257 /* a byte that has not come yet */

#define MAX_EMAIL 254
#define MAX_LOCAL 64
#define MAX_LABEL 63
#define MAX_PHONE 24

/* A reader at a candidate's start. */
struct look {
	const struct window *w;
	size_t at;
};

static int byte_at(const struct look *l, size_t i)
{
	if (l->at + i < l->w->n)
		return l->w->p[l->at + i];
	return l->w->over ? END : UNKNOWN;
}

/* The byte k before the start; END before the beginning of the text. */
static int byte_before(const struct look *l, size_t k)
{
	return k <= l->at ? l->w->p[l->at - k] : END;
}

static bool is_word(int c)
{
	return c < END && guard_is_word(c);
}

/* Digits from i on, at most max + 1; *ret_open when the run may go on past the window. */
static size_t digit_run(const struct look *l, size_t i, size_t max, bool *ret_open)
{
	size_t n = 0;
	int c = byte_at(l, i);

	while (n <= max && guard_is_digit(c))
		c = byte_at(l, i + ++n);
	*ret_open = n <= max && c == UNKNOWN;
	return n;
}

/* ---- cards ---- */

static const struct issuer {
	uint16_t low, high; /* of the first four digits */
	uint32_t lengths;   /* bit n: n digits */
} issuers[] = {
	{4000, 4999, 1u << 13 | 1u << 16 | 1u << 19},		 /* Visa */
	{5100, 5599, 1u << 16},					 /* Mastercard */
	{2221, 2720, 1u << 16},					 /* Mastercard */
	{3400, 3499, 1u << 15},					 /* American Express */
	{3700, 3799, 1u << 15},					 /* American Express */
	{3000, 3059, 1u << 14 | 1u << 16},			 /* Diners Club */
	{3600, 3699, 1u << 14 | 1u << 16},			 /* Diners Club */
	{3800, 3999, 1u << 14 | 1u << 16},			 /* Diners Club */
	{3528, 3589, 1u << 16 | 1u << 17 | 1u << 18 | 1u << 19}, /* JCB */
	{6011, 6011, 1u << 16 | 1u << 19},			 /* Discover */
	{6440, 6599, 1u << 16 | 1u << 19},			 /* Discover */
	{6200, 6299, 1u << 16 | 1u << 17 | 1u << 18 | 1u << 19}, /* UnionPay */
	{5018, 5018, 0x7fu << 13},				 /* Maestro */
	{5020, 5020, 0x7fu << 13},				 /* Maestro */
	{5038, 5038, 0x7fu << 13},				 /* Maestro */
	{5600, 5899, 0x7fu << 13},				 /* Maestro */
	{6304, 6304, 0x7fu << 13},				 /* Maestro */
	{6390, 6390, 0x7fu << 13},				 /* Maestro */
	{6759, 6763, 0x7fu << 13},				 /* Maestro */
};

/* The lengths that cards with this beginning have; n digits of it are known. */
static uint32_t card_lengths(unsigned prefix, unsigned n)
{
	static const unsigned scale[] = {10000, 1000, 100, 10, 1};
	unsigned least, most; /* first four digits that begin so */
	uint32_t lengths = 0;

	if (n > 4)
		n = 4;
	least = prefix * scale[n];
	most = least + scale[n] - 1;
	for (size_t i = 0; i < COUNT_OF(issuers); i++) {
		if (least <= issuers[i].high && most >= issuers[i].low)
			lengths |= issuers[i].lengths;
	}
	return lengths;
}

static bool luhn(const unsigned char *digit, size_t n)
{
	unsigned sum = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned d = digit[n - 1 - i];

		if (i % 2)
			d = d > 4 ? 2 * d - 9 : 2 * d;
		sum += d;
	}
	return sum % 10 == 0;
}

/* The groups that card numbers are written in; 0 ends a row. */
static const uint8_t card_groups[][6] = {{4, 4, 4, 4, 3}, {4, 4, 4, 4}, {4, 6, 5}, {4, 6, 4}};

/* Whether the number may end before byte c, which d follows. */
static int card_ends(int c, int d, int sep)
{
	if (c == UNKNOWN)
		return MORE;
	if (is_word(c))
		return 0;
	if (c == '-' || (c == '.' && sep != ' ')) {
		if (d == UNKNOWN)
			return MORE;
		return !guard_is_digit(d);
	}
	return 1;
}

static int card_take(const struct look *l, const unsigned char *digit, size_t n, size_t bytes, int sep)
{
	unsigned prefix = digit[0] * 1000u + digit[1] * 100u + digit[2] * 10u + digit[3];
	int ends;

	if (!(card_lengths(prefix, 4) >> n & 1) || !luhn(digit, n))
		return 0;
	ends = card_ends(byte_at(l, bytes), byte_at(l, bytes + 1), sep);
	return ends == 1 ? (int)bytes : ends;
}

static int card_grouped(const struct look *l, const uint8_t *groups)
{
	int sep = byte_at(l, groups[0]);
	unsigned char digit[24] = {0};
	size_t i = 0, n = 0;

	for (size_t g = 0; g < 6 && groups[g]; g++) {
		if (g) {
			int c = byte_at(l, i++);

			if (c != sep)
				return c == UNKNOWN ? MORE : 0;
		}
		for (size_t k = 0; k < groups[g]; k++) {
			int c = byte_at(l, i++);

			if (!guard_is_digit(c))
				return c == UNKNOWN ? MORE : 0;
			digit[n++] = (unsigned char)(c - '0');
		}
	}
	return card_take(l, digit, n, i, sep);
}

static int card_plain(const struct look *l)
{
	unsigned char digit[24] = {0};
	bool open;
	size_t n = digit_run(l, 0, 19, &open);

	if (open)
		return MORE;
	if (n < 13 || n > 19)
		return 0;
	for (size_t i = 0; i < n; i++)
		digit[i] = (unsigned char)(byte_at(l, i) - '0');
	return card_take(l, digit, n, n, 0);
}

/* Whether a number may begin here: not inside a word or a longer number. */
static bool number_begins(const struct look *l)
{
	int before = byte_before(l, 1);

	if (is_word(before))
		return false;
	return !(before == '-' || before == '.' || before == '+') || !is_word(byte_before(l, 2));
}

static int pii_card(const struct look *l)
{
	unsigned prefix = 0, n = 0;
	int best = 0;

	for (; n < 4 && guard_is_digit(byte_at(l, n)); n++)
		prefix = prefix * 10 + (unsigned)(byte_at(l, n) - '0');
	if (n == 0 || !number_begins(l) || !card_lengths(prefix, n))
		return 0;
	if (n < 4 || byte_at(l, 4) == UNKNOWN)
		return byte_at(l, n) == UNKNOWN ? MORE : 0;
	if (guard_is_digit(byte_at(l, 4)))
		return card_plain(l);
	if (byte_at(l, 4) != ' ' && byte_at(l, 4) != '-')
		return 0;
	for (size_t i = 0; i < COUNT_OF(card_groups); i++) {
		int got = card_grouped(l, card_groups[i]);

		if (got == MORE)
			return MORE;
		best = got > best ? got : best;
	}
	return best;
}

/* ---- US social security numbers ---- */

static int pii_ssn(const struct look *l)
{
	static const uint8_t shape[] = {3, 2, 4};
	unsigned part[3] = {0};
	int sep = byte_at(l, 3), c, d;
	size_t i = 0;

	if (!number_begins(l))
		return 0;
	for (size_t g = 0; g < 3; g++) {
		for (size_t k = 0; k < shape[g]; k++, i++) {
			c = byte_at(l, i);
			if (!guard_is_digit(c))
				return c == UNKNOWN ? MORE : 0;
			part[g] = part[g] * 10 + (unsigned)(c - '0');
			if (g == 0 && k == 0 && c == '9')
				return 0;
		}
		if (part[g] == 0 || (g == 0 && part[g] == 666))
			return 0;
		if (g == 2)
			break;
		c = byte_at(l, i++);
		if (c != sep || (c != '-' && c != ' '))
			return c == UNKNOWN ? MORE : 0;
	}
	c = byte_at(l, i);
	d = byte_at(l, i + 1);
	if (c == UNKNOWN || ((c == '-' || c == '.') && d == UNKNOWN))
		return MORE;
	return is_word(c) || ((c == '-' || c == '.') && guard_is_digit(d)) ? 0 : (int)i;
}

/* ---- IBAN ---- */

static const struct iban_country {
	char code[3];
	uint8_t length;
} iban_countries[] = {
	{"AD", 24}, {"AE", 23}, {"AL", 28}, {"AT", 20}, {"AZ", 28}, {"BA", 20}, {"BE", 16}, {"BG", 22}, {"BH", 22},
	{"BI", 27}, {"BR", 29}, {"BY", 28}, {"CH", 21}, {"CR", 22}, {"CY", 28}, {"CZ", 24}, {"DE", 22}, {"DJ", 27},
	{"DK", 18}, {"DO", 28}, {"EE", 20}, {"EG", 29}, {"ES", 24}, {"FI", 18}, {"FK", 18}, {"FO", 18}, {"FR", 27},
	{"GB", 22}, {"GE", 22}, {"GI", 23}, {"GL", 18}, {"GR", 27}, {"GT", 28}, {"HR", 21}, {"HU", 28}, {"IE", 22},
	{"IL", 23}, {"IQ", 23}, {"IS", 26}, {"IT", 27}, {"JO", 30}, {"KW", 30}, {"KZ", 20}, {"LB", 28}, {"LC", 32},
	{"LI", 21}, {"LT", 20}, {"LU", 20}, {"LV", 21}, {"LY", 25}, {"MC", 27}, {"MD", 24}, {"ME", 22}, {"MK", 19},
	{"MN", 20}, {"MR", 27}, {"MT", 31}, {"MU", 30}, {"NI", 28}, {"NL", 18}, {"NO", 15}, {"OM", 23}, {"PK", 24},
	{"PL", 28}, {"PS", 29}, {"PT", 25}, {"QA", 29}, {"RO", 24}, {"RS", 22}, {"RU", 33}, {"SA", 24}, {"SC", 31},
	{"SD", 18}, {"SE", 24}, {"SI", 19}, {"SK", 24}, {"SM", 27}, {"SO", 23}, {"ST", 25}, {"SV", 28}, {"TL", 23},
	{"TN", 24}, {"TR", 26}, {"UA", 29}, {"VA", 22}, {"VG", 24}, {"XK", 20}, {"YE", 30},
};

/* Length for a country; MORE when the second letter is not known yet and some country begins so. */
static int iban_length(int a, int b)
{
	for (size_t i = 0; i < COUNT_OF(iban_countries); i++) {
		if (iban_countries[i].code[0] != a)
			continue;
		if (b == UNKNOWN)
			return MORE;
		if (iban_countries[i].code[1] == b)
			return iban_countries[i].length;
	}
	return 0;
}

static unsigned iban_mod97(unsigned sum, int c)
{
	unsigned v = guard_is_digit(c) ? (unsigned)(c - '0') : (unsigned)(c - 'A') + 10;

	return (sum * (v > 9 ? 100 : 10) + v) % 97;
}

static int pii_iban(const struct look *l)
{
	int length = iban_length(byte_at(l, 0), byte_at(l, 1)), c;
	unsigned char text[34];
	unsigned sum = 0;
	size_t i = 0;
	bool grouped;

	if (length <= 0 || is_word(byte_before(l, 1)))
		return is_word(byte_before(l, 1)) ? 0 : length;
	grouped = byte_at(l, 4) == ' ';
	for (int n = 0; n < length; n++, i++) {
		if (grouped && n && n % 4 == 0) {
			c = byte_at(l, i++);
			if (c != ' ')
				return c == UNKNOWN ? MORE : 0;
		}
		c = byte_at(l, i);
		if (c == UNKNOWN)
			return MORE;
		if (!guard_is_digit(c) && (n == 2 || n == 3 || c < 'A' || c > 'Z'))
			return 0;
		text[n] = (unsigned char)c;
	}
	c = byte_at(l, i);
	if (c == UNKNOWN)
		return MORE;
	for (int n = 0; n < length; n++)
		sum = iban_mod97(sum, text[(n + 4) % length]);
	return is_word(c) || sum != 1 ? 0 : (int)i;
}

/* ---- phone numbers ---- */

/* What may follow a number: not more of a word or of a number. */
static int phone_ends(const struct look *l, size_t i)
{
	int c = byte_at(l, i), d = byte_at(l, i + 1);

	if (c == UNKNOWN)
		return MORE;
	if (is_word(c))
		return 0;
	if (c == '-' || c == '.' || c == '/' || c == ':') {
		if (d == UNKNOWN)
			return MORE;
		return guard_is_digit(d) ? 0 : (int)i;
	}
	return (int)i;
}

static bool is_phone_separator(int c)
{
	return c == ' ' || c == '-' || c == '.' || c == '(' || c == ')' || c == '/';
}

/* '+', 8 to 15 digits, at most two separators between two of them. */
static int phone_international(const struct look *l)
{
	size_t i = 1, digits = 0, separators = 0, end = 0;
	int c = byte_at(l, 1);

	if (c == UNKNOWN)
		return MORE;
	if (!guard_is_digit(c) || c == '0' || is_word(byte_before(l, 1)) || byte_before(l, 1) == '+')
		return 0;
	for (; i <= MAX_PHONE; i++) {
		c = byte_at(l, i);
		if (guard_is_digit(c)) {
			separators = 0;
			end = i + 1;
			if (++digits > 15)
				return 0;
		} else if (!is_phone_separator(c) || ++separators > 2) {
			break;
		}
	}
	if (c == UNKNOWN && i <= MAX_PHONE)
		return MORE;
	if (digits < 8 || end > MAX_PHONE)
		return 0;
	return phone_ends(l, end);
}

/* Three digits of which the first is at least `least`. 3, 0 or MORE. */
static int phone_code(const struct look *l, size_t i, int least)
{
	for (size_t k = 0; k < 3; k++) {
		int c = byte_at(l, i + k);

		if (c == UNKNOWN)
			return MORE;
		if (!guard_is_digit(c) || (k == 0 && c < least))
			return 0;
	}
	return 3;
}

/* "x123", up to five digits, belongs to the number. Returns the end, or MORE. */
static int phone_extension(const struct look *l, size_t i)
{
	bool open;
	size_t n;

	if (byte_at(l, i) == UNKNOWN)
		return MORE;
	if (byte_at(l, i) != 'x' && byte_at(l, i) != 'X')
		return phone_ends(l, i);
	n = digit_run(l, i + 1, 5, &open);
	if (open)
		return MORE;
	return n >= 1 && n <= 5 ? phone_ends(l, i + 1 + n) : 0;
}

/* Exchange and line: XXX sep XXXX, from i on. */
static int phone_local(const struct look *l, size_t i, int sep)
{
	int code = phone_code(l, i, '0'), c;
	bool open;
	size_t n;

	if (code <= 0)
		return code;
	c = byte_at(l, i + 3);
	if (c == UNKNOWN)
		return MORE;
	if (sep ? c != sep : (c != '-' && c != '.' && c != ' '))
		return 0;
	n = digit_run(l, i + 4, 4, &open);
	if (n < 4)
		return open ? MORE : 0;
	if (n > 4)
		return 0;
	return phone_extension(l, i + 8);
}

/* NXX sep XXX sep XXXX or (NXX) XXX sep XXXX, from i on. */
static int phone_national(const struct look *l, size_t i)
{
	bool bracket = byte_at(l, i) == '(';
	int code = phone_code(l, i + bracket, '2'), c;
	size_t at = i + bracket + 3;

	if (code <= 0)
		return code;
	c = byte_at(l, at);
	if (c == UNKNOWN)
		return MORE;
	if (!bracket)
		return c == '-' || c == '.' || c == ' ' ? phone_local(l, at + 1, c) : 0;
	if (c != ')')
		return 0;
	c = byte_at(l, ++at);
	if (c == UNKNOWN)
		return MORE;
	return phone_local(l, at + (c == ' ' || c == '-'), 0);
}

/* A number with the country code of North America before it: 1-, 1 , 001-. Returns where the national part begins, 0 or
 * MORE. */
static int phone_trunk(const struct look *l)
{
	static const char *const trunks[] = {"1-", "1 ", "1.", "001-"};

	for (size_t t = 0; t < COUNT_OF(trunks); t++) {
		size_t i = 0;

		while (trunks[t][i] && byte_at(l, i) == trunks[t][i])
			i++;
		if (!trunks[t][i])
			return (int)i;
		if (byte_at(l, i) == UNKNOWN)
			return MORE;
	}
	return 0;
}

static int pii_phone(const struct look *l)
{
	int c = byte_at(l, 0), trunk;

	if (c == '+')
		return phone_international(l);
	if (!number_begins(l) || byte_before(l, 1) == '$')
		return 0;
	if (c == '(' || c >= '2')
		return phone_national(l, 0);
	trunk = phone_trunk(l);
	return trunk <= 0 ? trunk : phone_national(l, (size_t)trunk);
}

/* ---- e-mail ---- */

static bool is_local(int c)
{
	return guard_is_alpha(c) || guard_is_digit(c) || c == '.' || c == '_' || c == '%' || c == '+' || c == '-';
}

static bool is_domain(int c)
{
	return guard_is_alpha(c) || guard_is_digit(c) || c == '.' || c == '-';
}

/* Whether n bytes from i on are labels, the last of at least two letters. */
static bool is_host(const struct look *l, size_t i, size_t n)
{
	size_t label = 0, labels = 0;
	bool letters = true;

	for (size_t k = 0; k < n; k++) {
		int c = byte_at(l, i + k);

		if (c == '.') {
			if (label == 0 || byte_at(l, i + k - 1) == '-')
				return false;
			labels++;
			label = 0;
			letters = true;
			continue;
		}
		if ((c == '-' && label == 0) || ++label > MAX_LABEL)
			return false;
		letters &= guard_is_alpha(c);
	}
	return labels > 0 && label >= 2 && label <= 24 && letters;
}

static int pii_email(const struct look *l)
{
	size_t local = 0, domain = 0, n;
	int c = byte_at(l, 0);

	while (is_local(c) && local <= MAX_LOCAL)
		c = byte_at(l, ++local);
	if (local == 0 || local > MAX_LOCAL || c == UNKNOWN)
		return c == UNKNOWN && local <= MAX_LOCAL ? MORE : 0;
	if (c != '@' || byte_at(l, local - 1) == '.')
		return 0;
	do {
		c = byte_at(l, local + 1 + domain);
		domain++;
	} while (is_domain(c) && local + 1 + domain <= MAX_EMAIL);
	domain--;
	if (c == UNKNOWN)
		return MORE;
	if (is_domain(c))
		return 0;
	for (n = domain; n > 0; n--) { /* a full stop or a dash at the end is the sentence's */
		c = byte_at(l, local + n);
		if (c != '.' && c != '-')
			break;
	}
	return is_host(l, local + 1, n) ? (int)(local + 1 + n) : 0;
}

/* ---- the pass ---- */

static const struct recogniser {
	enum pii_kind kind;
	const char *name;
	int (*match)(const struct look *l);
} recognisers[] = {
	{PII_CARD, "card", pii_card}, {PII_EMAIL, "email", pii_email}, {PII_IBAN, "iban", pii_iban},
	{PII_SSN, "ssn", pii_ssn},    {PII_PHONE, "phone", pii_phone},
};

#define D (PII_CARD | PII_SSN | PII_PHONE)
static const uint8_t triggers[256] = {
	['0' ... '9'] = D, ['+'] = PII_PHONE, ['('] = PII_PHONE, ['A' ... 'Z'] = PII_IBAN};
#undef D

unsigned pii_kind_from_name(struct slice name)
{
	for (size_t i = 0; i < COUNT_OF(recognisers); i++) {
		if (slice_eq_str(name, recognisers[i].name))
			return recognisers[i].kind;
	}
	return 0;
}

static bool is_local_start(int c)
{
	return guard_is_alpha(c) || guard_is_digit(c) || c == '_';
}

/*
 * Where the local part that ends at byte `end` of the window begins; w->n when there is none, or a longer one than
 * addresses have.  Words joined by single joiners: two in a row begin a new one, so what was cut off before the window
 * cannot matter.
 */
static size_t local_start(const struct window *w, size_t end)
{
	size_t i = end;

	while (i > 0 && is_local(w->p[i - 1])) {
		if (!is_local_start(w->p[i - 1]) && (i < 2 || !is_local_start(w->p[i - 2])))
			break;
		if (end - --i > MAX_LOCAL)
			return w->n;
	}
	return i < end ? i : w->n;
}

/*
 * The next start of an address, at `least` or later, whose '@' stands at *at or later; *at moves to that '@', or to
 * w->n when the last word of a text that goes on is meant.
 */
static size_t next_email(const struct window *w, size_t *at, size_t least)
{
	size_t start;

	for (; *at < w->n; ++*at) {
		const unsigned char *found = memchr(w->p + *at, '@', w->n - *at);

		if (!found)
			break;
		*at = (size_t)(found - w->p);
		start = local_start(w, *at);
		if (start >= least && start < w->n)
			return start;
	}
	*at = w->n;
	start = w->over ? w->n : local_start(w, w->n);
	return start >= least ? start : w->n;
}

/* Asks the recognisers of a rule that wake at this start. Their longest answer; MORE if any needs more. */
static int ask(const struct look *l, unsigned kinds)
{
	int best = 0;

	for (size_t i = 0; i < COUNT_OF(recognisers); i++) {
		int got = kinds & recognisers[i].kind ? recognisers[i].match(l) : 0;

		if (got == MORE)
			return MORE;
		best = got > best ? got : best;
	}
	return best;
}

/* Asks every rule that is not beyond this start; bit i of *stopped: rule i waits for more text. */
static void ask_rules(struct run *r, const struct look *l, unsigned kinds, uint64_t stopped[4])
{
	uint64_t at = l->w->base + l->at;

	for (size_t i = 0; i < r->engine->n_pii; i++) {
		const struct pii_rule *rule = &r->engine->pii[i];
		int got;

		if (!(rule->kinds & kinds) || r->pii_cursor[i] > at || stopped[i / 64] >> (i % 64) & 1)
			continue;
		got = ask(l, rule->kinds & kinds);
		if (got == MORE) {
			stopped[i / 64] |= 1ull << (i % 64);
			r->pii_cursor[i] = at;
		} else if (got > 0) {
			run_emit(r, rule->rule, at, at + (uint64_t)got);
			r->pii_cursor[i] = at + (uint64_t)got;
		}
	}
}

/* Numbers and codes begin where no word goes on; a code with a second capital. */
static bool is_start(const struct window *w, size_t i)
{
	if (i > 0 && guard_is_word(w->p[i - 1]))
		return false;
	return !(triggers[w->p[i]] & PII_IBAN) || i + 1 == w->n || (triggers[w->p[i + 1]] & PII_IBAN);
}

/* What a recogniser wakes at, by its first bytes: sets with ranges, where a '-' at the end is one. Addresses have their
 * own way. */
static const struct beginning {
	enum pii_kind kind;
	const char *byte[SCAN_BYTES];
} beginnings[] = {
	{PII_CARD, {"2-6", "0-9", "0-9", "0-9", "0-9 -", "0-9"}},
	{PII_SSN, {"0-8", "0-9", "0-9", " -", "0-9", "0-9"}},
	{PII_IBAN, {"A-Z", "A-Z", "0-9", "0-9", "0-9A-Z ", "0-9A-Z"}},
	{PII_PHONE, {"+", "1-9", "0-9 ()./-", "0-9 ()./-", "0-9 ()./-", "0-9 ()./-"}},
	{PII_PHONE, {"(", "2-9", "0-9", "0-9", ")", "0-9 -"}},
	{PII_PHONE, {"2-9", "0-9", "0-9", " .-", "0-9", "0-9"}},
	{PII_PHONE, {"1", " .-", "2-9", "0-9", "0-9", " .-"}},
	{PII_PHONE, {"1", " .-", "(", "2-9", "0-9", "0-9"}},
	{PII_PHONE, {"0", "0", "1", "-", "2-9(", "0-9"}},
};

static struct byte_set set_of(const char *bytes)
{
	struct byte_set set = {{0}};

	while (*bytes) {
		bool range = bytes[1] == '-' && bytes[2];

		byte_set_add(&set, (unsigned char)bytes[0], (unsigned char)bytes[range ? 2 : 0]);
		bytes += range ? 3 : 1;
	}
	return set;
}

int pii_items(unsigned kinds, struct scan_items *items)
{
	for (size_t i = 0; i < COUNT_OF(beginnings); i++) {
		struct scan_item item = {.part = SCAN_PII};

		for (size_t k = 0; k < SCAN_BYTES; k++)
			item.byte[k] = set_of(beginnings[i].byte[k]);
		if (kinds & beginnings[i].kind && scan_items_add(items, &item))
			return E_TOOBIG;
	}
	return 0;
}

static void pass(struct run *r, const struct window *w, size_t from, unsigned kinds, uint64_t stopped[4])
{
	size_t at_sign = from, email = kinds & PII_EMAIL ? next_email(w, &at_sign, from) : w->n;
	struct scan_cursor places = run_places(r, w, SCAN_PII);
	size_t place = scan_next(&places, from);

	while (place < w->n || email < w->n) {
		size_t i = place < email ? place : email;
		unsigned wake = triggers[w->p[i]] & kinds;

		if (i == place)
			place = scan_next(&places, i + 1);
		if (wake && !is_start(w, i))
			wake = 0;
		if (i == email) {
			wake |= PII_EMAIL;
			if (at_sign < w->n)
				at_sign++;
			email = next_email(w, &at_sign, i + 1);
		}
		if (wake)
			ask_rules(r, &(struct look){w, i}, wake, stopped);
	}
}

struct live pii_step(struct run *r, const struct window *w)
{
	struct live live = {GUARD_NONE, GUARD_NONE};
	uint64_t stopped[4] = {0}, from = window_end(w), end = from;
	unsigned kinds = 0;

	for (size_t i = 0; i < r->engine->n_pii; i++) {
		if (r->pii_cursor[i] < from)
			from = r->pii_cursor[i];
		kinds |= r->engine->pii[i].kinds;
	}
	pass(r, w, (size_t)(from - w->base), kinds, stopped);
	for (size_t i = 0; i < r->engine->n_pii; i++) {
		if (!(stopped[i / 64] >> (i % 64) & 1)) {
			if (r->pii_cursor[i] < end)
				r->pii_cursor[i] = end;
			continue;
		}
		if (r->pii_cursor[i] < live.any)
			live.any = r->pii_cursor[i];
		if (r->policy->rules[r->engine->pii[i].rule].action > GUARD_FLAG && r->pii_cursor[i] < live.hold)
			live.hold = r->pii_cursor[i];
	}
	return live;
}
