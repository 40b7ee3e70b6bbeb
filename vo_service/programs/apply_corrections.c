/* Apply a list of header corrections to FITS files.
 *
 *     cc -O2 -o apply_corrections apply_corrections.c -lcfitsio -lm
 *     ./apply_corrections LIST.csv FILE...
 *
 * LIST.csv comes from the archive, /corrections/<collection>?RESPONSEFORMAT=csv. A file is
 * changed only where a keyword still has the value that the list expects; CHECKSUM stays valid,
 * the data are not touched, and a file that was corrected before stays as it is. What is not
 * applied is printed with file, HDU, keyword, the value found and the value expected; the exit
 * status is then 1. Needs CFITSIO 3.4 or later; nothing else.
 *
 * Cards are written as the archive writes them (?header=corrected), so that headers are the same.
 */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <fitsio.h>

#define CARD 80
#define BLOCK 2880
#define TEXT 4096
#define MAX_RECORDS 64

enum { START, END, HDU, KEYWORD, CURRENT, UPDATED, DATATYPE, COMMENT, COLUMNS };
static const char *const NAMES[COLUMNS] = {"start_frame", "end_frame", "hdu",      "keyword",
                                           "current",     "updated",   "datatype", "comment"};

typedef struct {
    char *field[COLUMNS];
} Row;

/* A card: how many records it is made of, its keyword, value and comment. A value is a string
 * ('S'), logical ('L'), number ('N'), undefined ('U') or something else ('?'). */
typedef struct {
    int records, hierarch;
    char keyword[CARD + 1], kind, value[TEXT], comment[TEXT];
} CardInfo;

/* ---- texts --------------------------------------------------------------------------------- */

static void *keep(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    return memory;
}

static char *copied(const char *text)
{
    return strcpy(keep(malloc(strlen(text) + 1)), text);
}

static void strip_end(char *text)
{
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == ' ')
        text[--length] = '\0';
}

static void strip(char *text)
{
    size_t skipped = strspn(text, " \t");
    memmove(text, text + skipped, strlen(text + skipped) + 1);
    strip_end(text);
}

static int is_digits(const char *text)
{
    return *text != '\0' && strspn(text, "0123456789") == strlen(text);
}

static int is_whole(const char *text)
{
    return is_digits(text + (*text == '+' || *text == '-'));
}

/* ---- the list ------------------------------------------------------------------------------ */

/* Reads one field of CSV into *text*; what ended it: ',', '\n' or EOF. */
static int read_field(FILE *file, char *text, const char *path)
{
    size_t length = 0;
    int c = fgetc(file), quoted = c == '"';
    if (quoted)
        c = fgetc(file);
    for (;; c = fgetc(file)) {
        if (quoted && c == '"') {
            if ((c = fgetc(file)) != '"')
                break;
        } else if (c == EOF || (!quoted && (c == ',' || c == '\n' || c == '\r'))) {
            break;
        }
        if (length + 1 >= TEXT) {
            fprintf(stderr, "%s: a field has more than %d characters\n", path, TEXT - 1);
            exit(1);
        }
        text[length++] = (char)c;
    }
    text[length] = '\0';
    if (c == '\r')
        c = fgetc(file);
    return c;
}

/* A value as it stands in a card, without quotes. */
static char *value_text(char *text, const char *datatype)
{
    char *result = keep(malloc(strlen(text) + 3));
    strcpy(result, text);
    if (strcmp(datatype, "string") == 0) {
        strip_end(result);
        return result;
    }
    strip(result);
    for (char *c = result; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    if (strcmp(datatype, "float") == 0 && is_whole(result))
        strcat(result, ".0");
    return result;
}

static Row *read_list(const char *path, int *count)
{
    static char text[TEXT];
    int column[256], columns = 0, ended, known, i;
    Row *rows = NULL;
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    if (fgetc(file) != 0xEF || fgetc(file) != 0xBB || fgetc(file) != 0xBF)
        rewind(file);
    do {
        ended = read_field(file, text, path);
        strip(text);
        for (known = 0; known < COLUMNS && strcasecmp(text, NAMES[known]); known++)
            ;
        column[columns++] = known;
    } while (ended == ',' && columns < 256);
    for (known = 0; known < COLUMNS; known++) {
        for (i = 0; i < columns && column[i] != known; i++)
            ;
        if (i == columns && known != END && known != HDU && known != COMMENT) {
            fprintf(stderr, "%s: the column %s is missing\n", path, NAMES[known]);
            exit(1);
        }
    }
    *count = 0;
    while (ended != EOF) {
        Row row = {{0}};
        for (i = 0;; i++) {
            ended = read_field(file, text, path);
            if (i < columns && column[i] < COLUMNS)
                row.field[column[i]] = copied(text);
            if (ended != ',')
                break;
        }
        if (i == 0 && text[0] == '\0')
            continue; /* an empty line */
        if (i + 1 != columns) {
            fprintf(stderr, "%s: expected %d fields, found %d\n", path, columns, i + 1);
            exit(1);
        }
        for (known = 0; known < COLUMNS; known++) {
            if (row.field[known] == NULL)
                row.field[known] = copied("");
            if (known != CURRENT && known != UPDATED && known != COMMENT)
                strip(row.field[known]);
        }
        row.field[CURRENT] = value_text(row.field[CURRENT], row.field[DATATYPE]);
        row.field[UPDATED] = value_text(row.field[UPDATED], row.field[DATATYPE]);
        if (strncmp(row.field[KEYWORD], "HIERARCH ", 9) == 0)
            row.field[KEYWORD] += 9;
        rows = keep(realloc(rows, (size_t)(*count + 1) * sizeof *rows));
        rows[(*count)++] = row;
    }
    fclose(file);
    return rows;
}

/* Whether a correction is meant for a frame in a file of this name. */
static int covers(const Row *row, const char *frame, const char *name)
{
    const char *start = row->field[START], *slash = strrchr(start, '/');
    const char *end = row->field[END][0] ? row->field[END] : start;
    size_t length = strlen(start), prefix = length;
    if (strcmp(start, end) == 0)
        return strcmp(start, frame) == 0 || strcmp(start, name) == 0
               || (slash != NULL && strcmp(slash + 1, name) == 0);
    while (prefix > 0 && isdigit((unsigned char)start[prefix - 1]))
        prefix--;
    return strlen(frame) == length && strcmp(start, frame) <= 0 && strcmp(frame, end) <= 0
           && is_digits(frame + prefix);
}

/* ---- cards --------------------------------------------------------------------------------- */

/* Whether the value of a card is what the list says; numbers are compared as numbers. */
static int is_value(const CardInfo *card, const char *text, const char *datatype)
{
    char found[TEXT], wanted[TEXT], *c;
    if (*text == '\0')
        return card->kind == 'U'
               || (card->kind == 'S' && strspn(card->value, " ") == strlen(card->value));
    if (strcmp(datatype, "string") == 0)
        return (card->kind == 'S' || card->kind == '?') && strcmp(card->value, text) == 0;
    if (strcmp(datatype, "logical") == 0)
        return card->kind == 'L' && strcmp(card->value, text) == 0;
    if (card->kind != 'N')
        return 0;
    if (is_whole(card->value) && is_whole(text))
        return strtoll(card->value, NULL, 10) == strtoll(text, NULL, 10);
    strcpy(found, card->value);
    strcpy(wanted, text);
    for (c = found; *c; c++)
        if (*c == 'D' || *c == 'd')
            *c = 'E';
    for (c = wanted; *c; c++)
        if (*c == 'D')
            *c = 'E';
    return strtod(found, NULL) == strtod(wanted, NULL);
}

/* One record: *text*, and a comment that is cut where the record ends. */
static void record(char *out, const char *text, const char *comment)
{
    char line[2 * TEXT];
    snprintf(line, sizeof line, "%s%s%s", text, *comment ? " / " : "", comment);
    snprintf(out, CARD + 1, "%-80.80s", line);
    for (; *out; out++)
        if (!isprint((unsigned char)*out))
            *out = '?';
}

/* The records of a card; a long string goes on in CONTINUE records. */
static int card_records(char out[][CARD + 1], const char *keyword, const char *text,
                        const char *comment, int quoted, int hierarch)
{
    char head[CARD + 16], escaped[2 * TEXT], string[2 * TEXT + 8], line[2 * TEXT + CARD];
    char *rest = escaped;
    int count = 0;
    snprintf(head, sizeof head, hierarch ? "HIERARCH %s = " : "%-8s= ", keyword);
    if (!quoted) {
        snprintf(line, sizeof line, hierarch ? "%s%s" : "%s%20s", head, text);
        record(out[0], line, comment);
        return 1;
    }
    for (; *text; text++) {
        if (*text == '\'')
            *rest++ = '\'';
        *rest++ = *text;
    }
    *rest = '\0';
    rest = escaped;
    while (strlen(head) + strlen(rest) + 2 > CARD && count < MAX_RECORDS - 1) {
        size_t room = CARD - strlen(head) - 3, quotes = 0;
        for (size_t i = 0; i < room; i++)
            quotes += rest[i] == '\'';
        room -= quotes % 2; /* both halves of a quote belong to one record */
        snprintf(line, sizeof line, "%s'%.*s&'", head, (int)room, rest);
        record(out[count++], line, "");
        strcpy(head, "CONTINUE  ");
        rest += room;
    }
    snprintf(string, sizeof string, "'%-8s'", rest);
    snprintf(line, sizeof line, hierarch ? "%s%s" : "%s%-20s", head, string);
    record(out[count++], line, comment);
    return count;
}

/* Value and comment of one record, behind the equal sign; strings without their quotes. */
static void parse_value(const char *text, char *kind, char *value, char *comment)
{
    size_t length = 0;
    text += strspn(text, " ");
    if (*text == '\'') {
        for (text++; *text && (*text != '\'' || text[1] == '\''); text++) {
            if (*text == '\'')
                text++;
            value[length++] = *text;
        }
        *kind = 'S';
        text += *text == '\'';
    } else {
        while (*text && *text != '/')
            value[length++] = *text++;
        *kind = '\0';
    }
    value[length] = '\0';
    strip_end(value);
    if (*kind == '\0') {
        char number[TEXT], *end;
        strcpy(number, value);
        for (char *c = number; *c; c++)
            if (*c == 'D')
                *c = 'E';
        strtod(number, &end);
        if (value[0] == '\0')
            *kind = 'U';
        else if (strcmp(value, "T") == 0 || strcmp(value, "F") == 0)
            *kind = 'L';
        else
            *kind = *end == '\0' && strchr("+-.0123456789", number[0]) ? 'N' : '?';
    }
    text += strcspn(text, "/");
    comment[0] = '\0';
    if (*text == '/') {
        text += 1 + (text[1] == ' ');
        strcpy(comment, text);
        strip_end(comment);
    }
}

/* The card whose first record has this number; 0 where there is none. */
static int read_card(fitsfile *fits, int number, CardInfo *card, int *status)
{
    char line[FLEN_CARD], *equals;
    int keys = 0, more = 0;
    fits_get_hdrspace(fits, &keys, &more, status);
    if (*status || number > keys || fits_read_record(fits, number, line, status))
        return 0;
    memset(card, 0, sizeof *card);
    card->records = 1;
    card->hierarch = strncmp(line, "HIERARCH", 8) == 0 && strchr(line, '=') != NULL;
    if (card->hierarch) {
        equals = strchr(line, '=');
        snprintf(card->keyword, sizeof card->keyword, "%.*s", (int)(equals - line - 8), line + 8);
        strip(card->keyword);
        parse_value(equals + 1, &card->kind, card->value, card->comment);
    } else {
        snprintf(card->keyword, sizeof card->keyword, "%.8s", line);
        strip_end(card->keyword);
        card->kind = '?';
        if (strlen(line) > 8 && line[8] == '=')
            parse_value(line + 9, &card->kind, card->value, card->comment);
    }
    while (card->kind == 'S' && card->value[0] && card->value[strlen(card->value) - 1] == '&'
           && number + card->records <= keys) {
        char kind, value[TEXT], comment[TEXT];
        if (fits_read_record(fits, number + card->records, line, status)
            || strncmp(line, "CONTINUE", 8) != 0)
            break;
        parse_value(line + 8, &kind, value, comment);
        if (strlen(card->value) + strlen(value) >= TEXT
            || strlen(card->comment) + strlen(comment) + 1 >= TEXT)
            break;
        strcpy(card->value + strlen(card->value) - 1, value);
        if (*card->comment && *comment)
            strcat(card->comment, " ");
        strcat(card->comment, comment);
        card->records++;
    }
    return !*status;
}

/* The number of the first record of a keyword in this HDU; 0 where it has none. */
static int find_card(fitsfile *fits, const char *keyword, CardInfo *card, int *status)
{
    for (int number = 1; read_card(fits, number, card, status); number += card->records)
        if (strcmp(card->keyword, keyword) == 0)
            return number;
    return 0;
}

/* Put a card of another value in its place; whether that changed anything. */
static int replace_card(fitsfile *fits, int number, const CardInfo *old, char new[][CARD + 1],
                        int count, int *status)
{
    char line[FLEN_CARD], before[CARD + 1];
    int changed = count != old->records;
    for (int i = 0; i < count; i++) {
        if (i >= old->records) {
            fits_insert_record(fits, number + i, new[i], status);
            continue;
        }
        fits_read_record(fits, number + i, line, status);
        snprintf(before, sizeof before, "%-80.80s", line);
        if (strcmp(before, new[i]) != 0) {
            changed = 1;
            fits_modify_record(fits, number + i, new[i], status);
        }
    }
    for (int i = count; i < old->records; i++)
        fits_delete_record(fits, number + count, status);
    return changed;
}

/* ---- CHECKSUM (FITS 4.0, "Checksum keywords") ---------------------------------------------- */

static unsigned long add_words(unsigned long total, const char *card)
{
    for (int i = 0; i < CARD; i += 4) {
        const unsigned char *c = (const unsigned char *)card + i;
        total += ((unsigned long)c[0] << 24) | ((unsigned long)c[1] << 16)
                 | ((unsigned long)c[2] << 8) | c[3];
        total = (total & 0xFFFFFFFFUL) + (total >> 32);
    }
    return total;
}

/* The sum of the header of this HDU; where a card stands makes no difference. */
static unsigned long header_sum(fitsfile *fits, int *status)
{
    char line[FLEN_CARD], card[CARD + 1];
    LONGLONG start = 0, data = 0, end = 0;
    unsigned long total = 0;
    int keys = 0, more = 0;
    fits_get_hdrspace(fits, &keys, &more, status);
    fits_get_hduaddrll(fits, &start, &data, &end, status);
    for (LONGLONG i = 1; !*status && i <= (data - start) / CARD; i++) {
        strcpy(line, i == keys + 1 ? "END" : "");
        if (i <= keys)
            fits_read_record(fits, (int)i, line, status);
        snprintf(card, sizeof card, "%-80.80s", line);
        total = add_words(total, card);
    }
    return total;
}

/* Bring CHECKSUM up to date from DATASUM, or, without it, by as much as the header changed. */
static void update_checksum(fitsfile *fits, unsigned long before, int *status)
{
    CardInfo card, datasum;
    char records[MAX_RECORDS][CARD + 1], text[32];
    unsigned long data = before ^ 0xFFFFFFFFUL;
    int number = find_card(fits, "ZHECKSUM", &card, status);
    if (number) /* it spoke of the header as it was */
        fits_delete_record(fits, number, status);
    number = find_card(fits, "CHECKSUM", &card, status);
    if (!number || card.kind != 'S' || strlen(card.value) != 16)
        return;
    if (find_card(fits, "DATASUM", &datasum, status) && is_digits(datasum.value)
        && strtoull(datasum.value, NULL, 10) <= 0xFFFFFFFFUL)
        data = (unsigned long)strtoull(datasum.value, NULL, 10);
    card_records(records, "CHECKSUM", "0000000000000000", card.comment, 1, 0);
    fits_modify_record(fits, number, records[0], status);
    data += header_sum(fits, status);
    data = (data & 0xFFFFFFFFUL) + (data >> 32);
    fits_encode_chksum(data, 1, text);
    card_records(records, "CHECKSUM", text, card.comment, 1, 0);
    fits_modify_record(fits, number, records[0], status);
}

/* ---- files --------------------------------------------------------------------------------- */

/* What the file calls its frame: a keyword of any HDU, else its name without suffix. */
static void frame_of(fitsfile *fits, const char *keyword, const char *name, char *frame,
                     int hdus, int *status)
{
    static const char *const SUFFIXES[] = {".gz", ".fz", ".fits", ".fit", ".fts"};
    CardInfo card;
    for (int hdu = 1; hdu <= hdus && !*status; hdu++) {
        fits_movabs_hdu(fits, hdu, NULL, status);
        if (find_card(fits, keyword, &card, status) && card.kind == 'S') {
            strcpy(frame, card.value);
            strip(frame);
            if (*frame)
                return;
        }
    }
    snprintf(frame, TEXT, "%s", name);
    for (size_t i = 0; i < sizeof SUFFIXES / sizeof *SUFFIXES; i++) {
        size_t length = strlen(frame), cut = strlen(SUFFIXES[i]);
        if (length > cut && strcasecmp(frame + length - cut, SUFFIXES[i]) == 0)
            frame[length - cut] = '\0';
    }
}

/* Whether a correction is about the current HDU. */
static int is_meant(fitsfile *fits, const char *hdu, int number)
{
    char name[FLEN_VALUE] = "";
    int missing = 0;
    if (*hdu == '\0' || strcasecmp(hdu, "all") == 0)
        return 1;
    if (is_digits(hdu))
        return atoi(hdu) == number - 1;
    fits_read_key(fits, TSTRING, "EXTNAME", name, NULL, &missing);
    return strcasecmp(hdu, name) == 0;
}

static int is_done(const CardInfo *card, const Row *rows, int row, int count)
{
    for (int later = row; later < count; later++)
        if (strcmp(rows[later].field[KEYWORD], rows[row].field[KEYWORD]) == 0
            && strcmp(rows[later].field[HDU], rows[row].field[HDU]) == 0
            && is_value(card, rows[later].field[UPDATED], rows[later].field[DATATYPE]))
            return 1;
    return 0;
}

/* Apply the list to one file; how many values were not as expected, -1 for an error. */
static int correct(const char *path, const Row *all, int all_count, const char *frame_keyword,
                   int any_frame)
{
    static char frame[TEXT], records[MAX_RECORDS][CARD + 1];
    static CardInfo card;
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    fitsfile *fits = NULL;
    Row *rows = keep(malloc((size_t)(all_count + 1) * sizeof *rows));
    unsigned long *sums = NULL;
    char *changed = NULL;
    int status = 0, hdus = 0, count = 0, applied = 0, problems = 0;
    FILE *raw = fopen(path, "rb");
    if (raw != NULL && fgetc(raw) == 0x1f && fgetc(raw) == 0x8b) {
        fprintf(stderr, "%s: is compressed as a whole: unpack it first (gunzip)\n", path);
        fclose(raw);
        return -1;
    }
    if (raw != NULL)
        fclose(raw);
    if (fits_open_diskfile(&fits, path, READWRITE, &status)
        || fits_get_num_hdus(fits, &hdus, &status))
        goto out;
    frame_of(fits, frame_keyword, name, frame, hdus, &status);
    for (int i = 0; i < all_count; i++)
        if (any_frame || covers(&all[i], frame, name))
            rows[count++] = all[i];
    sums = keep(calloc((size_t)hdus + 1, sizeof *sums));
    changed = keep(calloc((size_t)hdus + 1, 1));
    for (int i = 0; i < count && !status; i++) {
        const Row *row = &rows[i];
        int targets = 0, every = strcasecmp(row->field[HDU], "all") == 0;
        for (int hdu = 1; hdu <= hdus && !status && (every || !targets); hdu++) {
            int number;
            fits_movabs_hdu(fits, hdu, NULL, &status);
            if (!is_meant(fits, row->field[HDU], hdu)
                || !(number = find_card(fits, row->field[KEYWORD], &card, &status)))
                continue;
            targets++;
            if (is_value(&card, row->field[CURRENT], row->field[DATATYPE])) {
                const char *comment = *row->field[COMMENT] ? row->field[COMMENT] : card.comment;
                int made = card_records(records, row->field[KEYWORD], row->field[UPDATED], comment,
                                        strcmp(row->field[DATATYPE], "string") == 0,
                                        card.hierarch);
                if (!changed[hdu])
                    sums[hdu] = header_sum(fits, &status);
                if (replace_card(fits, number, &card, records, made, &status)) {
                    changed[hdu] = 1;
                    applied++;
                }
            } else if (!is_done(&card, rows, i, count)) {
                printf("%s: HDU %d, %s: found %s, expected %s\n", path, hdu - 1,
                       row->field[KEYWORD], *card.value ? card.value : "no value",
                       *row->field[CURRENT] ? row->field[CURRENT] : "no value");
                problems++;
            }
        }
        if (!targets && !status) {
            printf("%s: HDU %s, %s: there is no such keyword\n", path,
                   *row->field[HDU] ? row->field[HDU] : "any", row->field[KEYWORD]);
            problems++;
        }
    }
    for (int hdu = 1; hdu <= hdus && !status; hdu++) {
        if (changed[hdu]) {
            fits_movabs_hdu(fits, hdu, NULL, &status);
            update_checksum(fits, sums[hdu], &status);
        }
    }
out:
    if (fits != NULL)
        fits_close_file(fits, &status);
    free(rows);
    free(sums);
    free(changed);
    if (status) {
        char text[FLEN_STATUS];
        fits_get_errstatus(status, text);
        fprintf(stderr, "%s: %s\n", path, text);
        return -1;
    }
    printf("%s: %d cards corrected\n", path, applied);
    return problems;
}

int main(int argc, char **argv)
{
    const char *frame_keyword = "FRAMEID";
    int any_frame = 0, first = 1, count = 0, failed = 0;
    for (; first < argc && strncmp(argv[first], "--", 2) == 0; first++) {
        if (strcmp(argv[first], "--any-frame") == 0)
            any_frame = 1;
        else if (strcmp(argv[first], "--frame-keyword") == 0 && first + 1 < argc)
            frame_keyword = argv[++first];
        else
            first = argc;
    }
    if (argc - first < 2) {
        fprintf(stderr,
                "usage: apply_corrections [--frame-keyword KEYWORD] [--any-frame] LIST.csv FILE...\n"
                "Applies a list of header corrections to FITS files, which are changed in place.\n"
                "  --frame-keyword  keyword with the name of the frame [FRAMEID; else the file's]\n"
                "  --any-frame      apply the whole list, whatever the frame\n");
        return 2;
    }
    Row *rows = read_list(argv[first], &count);
    for (int i = first + 1; i < argc; i++)
        failed |= correct(argv[i], rows, count, frame_keyword, any_frame) != 0;
    return failed;
}
