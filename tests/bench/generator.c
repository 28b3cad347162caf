/*
 * A WebSocket load generator on one thread and one epoll, for `make bench`.
 *
 * It must never be the bottleneck: frames are masked once beforehand, reads are large, and inbound frames are
 * counted by their headers. What it measures goes to standard output as one line of JSON. Every wait is bounded.
 *
 *   generator MODE --port P --tokens FILE [--NAME VALUE ...]
 *
 *   ping       each of --conns connections keeps one ping under way; counts pongs
 *   broadcast  --senders of the --conns connections, all of one session or spread over --sessions, keep --window
 *              messages under way each: a sender sends the next when its own comes back; counts deliveries. With --messages M each sender
 *              sends M and the run ends when all have arrived
 *   open       --rate messages a second, spread over the --senders of the --conns connections, which are spread over
 *              --sessions; sent when they are due, whatever has come back. Counts deliveries, and waits at the end for
 *              those under way; one that does not come is a failure. Latency is from when a message was due until its
 *              sender has it. With --workers N each of them gets as many senders and as many others as the rest: who
 *              comes to one that has its part goes and comes again
 *   rate       --rate pings a second, spread over the first --probes of --conns connections, sent when they are
 *              due whatever has come back; latency counts from the time that was due
 *   connect    --conns at a time connect, wait for session_created, say goodbye and start over; counts greetings
 *   idle       opens --conns connections, prints a line, and holds them until standard input ends
 *
 * In every mode pings of the server are answered with a pong. Several source addresses of 127.0.0.0/8 are used, so
 * that ports do not run out.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES (1 << 19)
#define EVENTS 512
#define OPENING_AT_ONCE 128
#define RING 1024 /* pings under way on one connection */
#define SOURCES 16
#define SECOND 1000000000ULL

enum state { UNUSED, CONNECTING, UPGRADING, WAITING, OPEN, CLOSING, LEAVING };
enum { WORKERS = 64 };
enum { TEXT = 0x81, CLOSE = 0x88, PING = 0x89, PONG = 0x8a };

struct conn {
    int fd;
    enum state state;
    int sender;          /* number of the sender, -1 for a receiver */
    char number[12];     /* the same, as it stands in messages */
    size_t mark_at;      /* where in a message its sender's number stands, once known */
    uint64_t started;    /* when connecting began */
    uint64_t *due;       /* ring: when each ping under way was sent or due */
    unsigned head, tail; /* of the ring */
    unsigned sent, own, messages, server_pings;
    int session; /* number of its session in open mode, -1 if it chose none */
    unsigned char *carry; /* the beginning of a frame whose rest has not come */
    size_t carried;
    unsigned char *unsent;
    size_t unsent_bytes;
};

struct frame {
    unsigned char bytes[1024];
    size_t size;
};

static struct {
    const char *mode, *host, *path, *session, *tokens_file;
    int port, conns, senders, sessions, window, messages, probes, workers;
    const char *server_pids; /* with commas between */
    double rate, warmup, seconds, timeout;
} options = {.host = "127.0.0.1", .path = "/socket.io/", .conns = 100, .senders = 1, .sessions = 1, .window = 1, .probes = 100,
             .rate = 1000, .warmup = 1, .seconds = 3, .timeout = 60};

static char **tokens;
static size_t token_count, next_token;
static struct conn *conns;
static int epoll_fd, opened, opening, lost, failed;
static int measuring, running; /* inside the window; whether the load is on */
static uint64_t count, sends, deliveries, expected;
static int on_worker[WORKERS], senders_on_worker[WORKERS]; /* how many connections, as their greetings tell */
static unsigned char buffer[READ_BYTES + 65536];
static struct frame ping_frame, pong_frame, close_frame, *message_frames;

/* Latency: buckets of 1/64 of their power of two, so 1.6 % of resolution from 1 ns up. */
static uint64_t histogram[64 * 64], worst;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static void record(uint64_t latency) {
    int shift = latency < 128 ? 0 : 57 - __builtin_clzll(latency);
    histogram[shift * 64 + (latency >> shift)]++;
    if (latency > worst) worst = latency;
}

static double quantile_us(double part) {
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < sizeof histogram / sizeof *histogram; i++) total += histogram[i];
    for (size_t i = 0; i < sizeof histogram / sizeof *histogram; i++) {
        seen += histogram[i];
        if (total && (double)seen >= part * (double)total) {
            int shift = i < 128 ? 0 : (int)(i / 64) - 1;
            return (double)((i - (uint64_t)shift * 64) << shift) / 1000;
        }
    }
    return 0;
}

static void build(struct frame *frame, unsigned char opcode, const char *payload) {
    /* Not zero, since a server may skip the unmasking then. */
    static const unsigned char mask[4] = {0x5a, 0x17, 0xc3, 0x2e};
    size_t size = strlen(payload), at = 0;
    frame->bytes[at++] = opcode;
    if (size < 126) {
        frame->bytes[at++] = (unsigned char)(0x80 | size);
    } else {
        frame->bytes[at++] = 0x80 | 126;
        frame->bytes[at++] = (unsigned char)(size >> 8);
        frame->bytes[at++] = (unsigned char)size;
    }
    memcpy(frame->bytes + at, mask, 4);
    at += 4;
    for (size_t i = 0; i < size; i++) frame->bytes[at++] = (unsigned char)payload[i] ^ mask[i % 4];
    frame->size = at;
}

static void watch(struct conn *conn, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = conn};
    if (epoll_ctl(epoll_fd, operation, conn->fd, &event) < 0) fail("epoll_ctl: %s", strerror(errno));
}

static void drop(struct conn *conn) {
    close(conn->fd);
    free(conn->carry);
    free(conn->unsent);
    conn->carry = conn->unsent = NULL;
    conn->carried = conn->unsent_bytes = 0;
    if (conn->state == OPEN || conn->state == CLOSING) opened--;
    else opening--;
    conn->state = UNUSED;
}

static void transmit(struct conn *conn, const void *bytes, size_t size) {
    ssize_t sent = 0;
    if (!conn->unsent_bytes) {
        sent = send(conn->fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0) sent = 0; /* a broken connection shows when it is read */
        if ((size_t)sent == size) return;
        watch(conn, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
    size_t rest = size - (size_t)sent;
    conn->unsent = realloc(conn->unsent, conn->unsent_bytes + rest);
    memcpy(conn->unsent + conn->unsent_bytes, (const char *)bytes + sent, rest);
    conn->unsent_bytes += rest;
}

static void transmit_rest(struct conn *conn) {
    ssize_t sent = send(conn->fd, conn->unsent, conn->unsent_bytes, MSG_NOSIGNAL);
    if (sent <= 0) return;
    conn->unsent_bytes -= (size_t)sent;
    memmove(conn->unsent, conn->unsent + sent, conn->unsent_bytes);
    if (!conn->unsent_bytes) watch(conn, EPOLLIN, EPOLL_CTL_MOD);
}

static void begin(struct conn *conn) {
    static unsigned source;
    struct sockaddr_in here = {.sin_family = AF_INET}, there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    int on = 1;
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (conn->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(conn->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK + source++ % SOURCES);
    inet_pton(AF_INET, options.host, &there.sin_addr);
    if (bind(conn->fd, (struct sockaddr *)&here, sizeof here) < 0) fail("bind: %s", strerror(errno));
    if (connect(conn->fd, (struct sockaddr *)&there, sizeof there) < 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    conn->state = CONNECTING;
    conn->started = now_ns();
    conn->mark_at = 0;
    opening++;
    watch(conn, EPOLLOUT, EPOLL_CTL_ADD);
}

static void upgrade(struct conn *conn) {
    char request[16384], number[16] = "";
    if (conn->session >= 0) snprintf(number, sizeof number, "-%d", conn->session);
    int size = snprintf(request, sizeof request,
                        "GET %s?token=%s%s%s%s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                        options.path, tokens[next_token++ % token_count], options.session ? "&sessionId=" : "",
                        options.session ? options.session : "", number, options.host, options.port);
    conn->state = UPGRADING;
    watch(conn, EPOLLIN, EPOLL_CTL_MOD);
    transmit(conn, request, (size_t)size);
}

static void send_ping(struct conn *conn, uint64_t due) {
    if (conn->head - conn->tail == RING) fail("%d pings under way on one connection: the server cannot keep up", RING);
    conn->due[conn->head++ % RING] = due;
    transmit(conn, ping_frame.bytes, ping_frame.size);
}

static void send_message_due(struct conn *conn, uint64_t due) {
    if (conn->head - conn->tail == RING) fail("%d messages under way of one sender: the server cannot keep up", RING);
    conn->due[conn->head++ % RING] = due;
    sends++;
    expected += (uint64_t)((options.conns - conn->session - 1) / options.sessions + 1);
    transmit(conn, message_frames[conn->sender].bytes, message_frames[conn->sender].size);
}

static void send_message(struct conn *conn) {
    if (options.messages && conn->sent == (unsigned)options.messages) return;
    conn->sent++;
    sends++;
    transmit(conn, message_frames[conn->sender].bytes, message_frames[conn->sender].size);
}

static int is_own(struct conn *conn, const unsigned char *payload, size_t size) {
    static const char mark[] = "{\"n\":\"";
    const size_t length = sizeof mark - 1;
    if (!conn->mark_at || conn->mark_at + 4 > size || memcmp(payload + conn->mark_at - length, mark, length)) {
        const unsigned char *found = memmem(payload, size, mark, length);
        if (found == NULL || found + length + 4 > payload + size) fail("a message without its sender's number");
        conn->mark_at = (size_t)(found - payload) + length;
    }
    return !memcmp(payload + conn->mark_at, conn->number, 4);
}

static void on_pong(struct conn *conn, uint64_t now) {
    if (!running || conn->head == conn->tail) return;
    uint64_t due = conn->due[conn->tail++ % RING];
    if (measuring) {
        count++;
        record(now - due);
    }
    if (*options.mode == 'p') send_ping(conn, now);
}

static void on_message(struct conn *conn, const unsigned char *payload, size_t size, uint64_t now) {
    if (!running) return;
    conn->messages++;
    deliveries++;
    if (conn->sender >= 0 && is_own(conn, payload, size)) {
        conn->own++;
        if (*options.mode != 'o') {
            send_message(conn);
            return;
        }
        if (conn->head == conn->tail) fail("a message came twice");
        uint64_t due = conn->due[conn->tail++ % RING];
        if (measuring) record(now - due);
    }
}

/* Counts on which worker a connection is, if its greeting tells; returns 0 if that has its part of such connections. */
static int count_worker(const struct conn *conn, const unsigned char *greeting, size_t size) {
    static const char mark[] = "\"worker\":";
    const unsigned char *found = memmem(greeting, size, mark, sizeof mark - 1);
    if (found == NULL) return 1;
    int worker = atoi((const char *)found + sizeof mark - 1); /* a frame is followed by at least a brace */
    if (worker < 0 || worker >= WORKERS) return 1;
    int sends = conn->sender >= 0, all = sends ? options.senders : options.conns - options.senders;
    int here = sends ? senders_on_worker[worker] : on_worker[worker] - senders_on_worker[worker];
    if (options.workers && here >= (all + options.workers - 1) / options.workers) return 0;
    on_worker[worker]++;
    senders_on_worker[worker] += sends;
    return 1;
}

static void on_text(struct conn *conn, const unsigned char *payload, size_t size, uint64_t now) {
    static const char start[] = "{\"type\":\"";
    const size_t kind = sizeof start - 1;
    if (size < kind + 4 || memcmp(payload, start, kind)) fail("not an envelope: %.*s", (int)size, payload);
    const char *type = (const char *)payload + kind;
    if (!memcmp(type, "mess", 4)) {
        on_message(conn, payload, size, now);
    } else if (!memcmp(type, "pong", 4)) {
        on_pong(conn, now);
    } else if (!memcmp(type, "ping", 4)) {
        conn->server_pings++;
        transmit(conn, pong_frame.bytes, pong_frame.size);
    } else if (!memcmp(type, "sess", 4) && conn->state == WAITING) {
        if (!count_worker(conn, payload, size)) {
            conn->state = LEAVING;
            transmit(conn, close_frame.bytes, close_frame.size);
            return;
        }
        conn->state = OPEN;
        opened++;
        opening--;
        if (*options.mode == 'c') {
            if (measuring) {
                count++;
                record(now - conn->started);
            }
            conn->state = CLOSING;
            transmit(conn, close_frame.bytes, close_frame.size);
        }
    } else {
        fail("unexpected: %.*s", (int)size, payload);
    }
}

/* Takes whole frames off `bytes`; returns how much it took, or -1 when the server said goodbye. */
static ssize_t take_frames(struct conn *conn, const unsigned char *bytes, size_t size, uint64_t now) {
    size_t at = 0;
    while (size - at >= 2) {
        const unsigned char *frame = bytes + at;
        size_t header = 2, payload = frame[1];
        if (payload == 126) {
            header = 4;
            if (size - at < header) break;
            payload = (size_t)frame[2] << 8 | frame[3];
        } else if (payload > 126) {
            fail("a masked or huge frame from the server");
        }
        if (size - at < header + payload) break;
        if (frame[0] == TEXT) on_text(conn, frame + header, payload, now);
        else if (frame[0] == CLOSE) return -1;
        else if (frame[0] != PING && frame[0] != PONG) fail("unexpected first byte 0x%02x", frame[0]);
        at += header + payload;
    }
    return (ssize_t)at;
}

static void ended(struct conn *conn) {
    int expected = conn->state == CLOSING, comes_again = conn->state == LEAVING;
    drop(conn);
    if (comes_again) {
        begin(conn);
    } else if (expected) {
        if (*options.mode == 'c' && running) begin(conn);
    } else if (*options.mode == 'c' && running) {
        failed++;
        begin(conn);
    } else {
        lost++;
    }
}

static void on_readable(struct conn *conn) {
    memcpy(buffer, conn->carry, conn->carried);
    ssize_t got = recv(conn->fd, buffer + conn->carried, READ_BYTES, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        ended(conn);
        return;
    }
    uint64_t now = now_ns();
    size_t size = conn->carried + (size_t)got, at = 0;
    conn->carried = 0;
    if (conn->state == UPGRADING) {
        const unsigned char *end = memmem(buffer, size, "\r\n\r\n", 4);
        if (end != NULL) {
            if (size < 12 || memcmp(buffer + 9, "101", 3)) fail("the handshake was refused: %.*s", (int)size, buffer);
            at = (size_t)(end - buffer) + 4;
            conn->state = WAITING;
        }
    }
    if (conn->state != UPGRADING) {
        ssize_t taken = take_frames(conn, buffer + at, size - at, now);
        if (taken < 0) {
            if (conn->state != CLOSING) ended(conn); /* else the end of the stream follows */
            return;
        }
        at += (size_t)taken;
    }
    if (at < size) {
        if (size - at > 65536) fail("a frame over 64 KiB from the server");
        conn->carry = realloc(conn->carry, size - at);
        memcpy(conn->carry, buffer + at, size - at);
        conn->carried = size - at;
    }
}

/* Handles what is ready, waiting at most until `until`; returns 0 when standard input has ended. */
static int turn(uint64_t until, int spin) {
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns(), wait = spin || now >= until ? 0 : until - now;
    struct timespec most = {.tv_sec = (time_t)(wait / SECOND), .tv_nsec = (long)(wait % SECOND)};
    int ready = epoll_pwait2(epoll_fd, events, EVENTS, &most, NULL);
    for (int i = 0; i < ready; i++) {
        struct conn *conn = events[i].data.ptr;
        if (conn == NULL) {
            char line[64];
            if (read(0, line, sizeof line) <= 0) return 0;
        } else if (conn->state == UNUSED) {
            continue;
        } else if (conn->state == CONNECTING) {
            int error = 0;
            socklen_t length = sizeof error;
            getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &length);
            if (error) fail("connect: %s", strerror(error));
            upgrade(conn);
        } else {
            if (events[i].events & EPOLLOUT) transmit_rest(conn);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(conn);
        }
    }
    return 1;
}

static void open_all(void) {
    uint64_t deadline = now_ns() + (uint64_t)(options.timeout * SECOND);
    for (int next = 0; opened < options.conns;) {
        while (next < options.conns && opening < OPENING_AT_ONCE) begin(&conns[next++]);
        turn(now_ns() + SECOND / 10, 0);
        if (lost) fail("a connection ended while others were opened");
        if (now_ns() > deadline) fail("only %d of %d connections opened in time", opened, options.conns);
    }
}

static void read_tokens(void) {
    FILE *file = fopen(options.tokens_file, "r");
    char *line = NULL;
    size_t space = 0;
    if (file == NULL) fail("%s: %s", options.tokens_file, strerror(errno));
    for (ssize_t length; (length = getline(&line, &space, file)) > 0;) {
        line[strcspn(line, "\n")] = 0;
        if (!*line || length > 8192) continue;
        tokens = realloc(tokens, (token_count + 1) * sizeof *tokens);
        tokens[token_count++] = strdup(line);
    }
    free(line);
    fclose(file);
    if (!token_count) fail("%s: no tokens", options.tokens_file);
}

static void prepare(void) {
    const char id[] = "0f2c1a54-7b1e-4c37-9d52-b7f3d1a0c9e8";
    char text[512];
    read_tokens();
    conns = calloc((size_t)options.conns, sizeof *conns);
    message_frames = calloc((size_t)options.senders, sizeof *message_frames);
    snprintf(text, sizeof text, "{\"type\":\"ping\",\"timestamp\":1700000000000,\"sessionId\":\"%s\",\"data\":{\"timestamp\":1700000000000}}", id);
    build(&ping_frame, TEXT, text);
    build(&pong_frame, TEXT, "{\"type\":\"pong\",\"timestamp\":1700000000000,\"data\":{\"timestamp\":1700000000000}}");
    build(&close_frame, CLOSE, "\x03\xe8");
    for (int i = 0; i < options.senders; i++) {
        char number[12];
        snprintf(number, sizeof number, "%04d", i);
        /* 100 bytes of data */
        snprintf(text, sizeof text, "{\"type\":\"message\",\"timestamp\":1700000000000,\"data\":{\"n\":\"%s\",\"text\":\"%s\"}}", number,
                 "It was the best of times, it was the worst of times, it was the age of wisdom,");
        build(&message_frames[i], TEXT, text);
    }
    for (int i = 0; i < options.conns; i++) {
        conns[i].sender = (*options.mode == 'b' || *options.mode == 'o') && i < options.senders ? i : -1;
        conns[i].session = *options.mode == 'o' || options.sessions > 1 ? i % options.sessions : -1;
        snprintf(conns[i].number, sizeof conns[i].number, "%04d", i);
        if (*options.mode == 'p' || (*options.mode == 'r' && i < options.probes) || (*options.mode == 'o' && i < options.senders))
            conns[i].due = calloc(RING, sizeof(uint64_t));
    }
    if ((epoll_fd = epoll_create1(0)) < 0) fail("epoll: %s", strerror(errno));
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* The processor time that a process has had so far, all threads (proc(5), /proc/PID/stat). */
static double cpu_seconds_of(int pid) {
    char path[64], line[1024];
    unsigned long user, system;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = pid ? fopen(path, "r") : NULL;
    if (file == NULL) return 0;
    size_t size = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[size] = 0;
    char *after_name = strrchr(line, ')');
    if (after_name == NULL ||
        sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return 0;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* Adds the processor time of each of the server's processes, times `sign`; returns how many they are. */
static int add_server_cpu(double *shares, double sign) {
    int number = 0;
    for (const char *at = options.server_pids; at != NULL && number < WORKERS; at = strchr(at, ',')) {
        at += *at == ',';
        shares[number++] += sign * cpu_seconds_of(atoi(at));
    }
    return number;
}

/* Runs the load until `until`; with --messages, until everything has arrived or `until` has come. */
static void run_until(uint64_t until, uint64_t first_due) {
    static uint64_t pings;
    uint64_t bound = (uint64_t)options.messages * (uint64_t)options.senders * (uint64_t)options.conns;
    int paced = *options.mode == 'r', is_open = *options.mode == 'o';
    for (uint64_t now; (now = now_ns()) < until;) {
        if (paced) {
            uint64_t due;
            while ((due = first_due + (uint64_t)((double)pings * SECOND / options.rate)) <= now)
                send_ping(&conns[pings++ % (uint64_t)options.probes], due);
        }
        uint64_t next = until;
        if (is_open) {
            while ((next = first_due + (uint64_t)((double)pings * SECOND / options.rate)) <= now)
                send_message_due(&conns[pings++ % (uint64_t)options.senders], next);
            if (next > until) next = until;
        }
        turn(next, paced);
        if (lost) return;
        if (bound && deliveries >= bound) return;
    }
}

/* Waits for what is under way; what does not come in time is lost. */
static void drain(void) {
    uint64_t until = now_ns() + (uint64_t)(options.timeout * SECOND);
    while (deliveries < expected && now_ns() < until && !lost) turn(now_ns() + SECOND / 10, 0);
    uint64_t end = now_ns() + SECOND / 20; /* would a surplus come? */
    for (uint64_t now; (now = now_ns()) < end;) turn(end, 0);
    if (deliveries != expected) fail("%lu deliveries came of %lu", deliveries, expected);
}

static void load(void) {
    uint64_t start = now_ns(), from = start + (uint64_t)(options.warmup * SECOND), until;
    running = 1;
    for (int i = 0; i < options.conns; i++) {
        if (*options.mode == 'p') send_ping(&conns[i], start);
        else if (*options.mode == 'c') begin(&conns[i]);
        for (int k = 0; *options.mode == 'b' && conns[i].sender >= 0 && k < options.window; k++) send_message(&conns[i]);
    }
    if (!options.messages) run_until(from, start);
    int keeps = options.messages || *options.mode == 'o'; /* what came in the warm-up is to be told from what is lost */
    deliveries = keeps ? deliveries : 0;
    sends = keeps ? sends : 0;
    measuring = 1;
    uint64_t sends_before = options.messages ? 0 : sends, deliveries_before = options.messages ? 0 : deliveries;
    double cpu = cpu_seconds(), shares[WORKERS] = {0}, server_cpu = 0;
    add_server_cpu(shares, -1);
    from = now_ns();
    until = from + (uint64_t)(options.seconds * SECOND);
    run_until(until, start);
    double seconds = (double)(now_ns() - from) / 1e9;
    cpu = cpu_seconds() - cpu;
    int processes = add_server_cpu(shares, 1);
    for (int i = 0; i < processes; i++) server_cpu += shares[i];
    uint64_t sent = sends - sends_before;
    if (*options.mode == 'b' && !options.messages) count = deliveries;
    if (*options.mode == 'o') {
        count = deliveries - deliveries_before;
        measuring = 0;
        drain();
    }
    if (options.messages) run_until(now_ns() + SECOND / 20, start); /* would a surplus come? */
    if (options.messages) count = deliveries;
    unsigned fewest = UINT32_MAX, most = 0, pings = UINT32_MAX;
    for (int i = 0; i < options.conns; i++) {
        if (conns[i].messages < fewest) fewest = conns[i].messages;
        if (conns[i].messages > most) most = conns[i].messages;
        if (conns[i].server_pings < pings) pings = conns[i].server_pings;
    }
    printf("{\"mode\":\"%s\",\"conns\":%d,\"seconds\":%.4f,\"count\":%lu,\"per_second\":%.1f,\"p50_us\":%.1f,"
           "\"p99_us\":%.1f,\"max_us\":%.1f,\"sends\":%lu,\"fewest_messages\":%u,\"most_messages\":%u,"
           "\"fewest_server_pings\":%u,\"lost\":%d,\"failed\":%d,\"generator_cpu\":%.3f,"
           "\"server_cpu\":%.3f,\"server_cpus\":[",
           options.mode, options.conns, seconds, count, (double)count / seconds, quantile_us(0.5), quantile_us(0.99),
           (double)worst / 1000, sent, fewest, most, pings, lost, failed, cpu / seconds, server_cpu / seconds);
    for (int i = 0; i < processes; i++) printf("%s%.4f", i ? "," : "", shares[i] / seconds);
    printf("],\"on_workers\":[");
    for (int i = 0, is_first = 1; i < WORKERS; i++)
        if (on_worker[i]) printf("%s%d", is_first ? "" : ",", on_worker[i]), is_first = 0;
    printf("]}\n");
}

static void hold(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    uint64_t until = now_ns() + (uint64_t)(options.timeout * SECOND);
    printf("{\"open\":%d}\n", opened);
    fflush(stdout);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &event) < 0) fail("standard input: %s", strerror(errno));
    while (now_ns() < until && turn(until, 0))
        if (lost) fail("%d connections were lost", lost);
}

static void read_options(int argc, char **argv) {
    if (argc < 2 || argc % 2) fail("usage: generator MODE --port P --tokens FILE [--NAME VALUE ...]");
    options.mode = argv[1];
    for (int i = 2; i < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (!strcmp(name, "--host")) options.host = value;
        else if (!strcmp(name, "--port")) options.port = atoi(value);
        else if (!strcmp(name, "--path")) options.path = value;
        else if (!strcmp(name, "--session")) options.session = value;
        else if (!strcmp(name, "--tokens")) options.tokens_file = value;
        else if (!strcmp(name, "--conns")) options.conns = atoi(value);
        else if (!strcmp(name, "--senders")) options.senders = atoi(value);
        else if (!strcmp(name, "--sessions")) options.sessions = atoi(value);
        else if (!strcmp(name, "--window")) options.window = atoi(value);
        else if (!strcmp(name, "--messages")) options.messages = atoi(value);
        else if (!strcmp(name, "--probes")) options.probes = atoi(value);
        else if (!strcmp(name, "--workers")) options.workers = atoi(value);
        else if (!strcmp(name, "--server-pids")) options.server_pids = value;
        else if (!strcmp(name, "--rate")) options.rate = atof(value);
        else if (!strcmp(name, "--warmup")) options.warmup = atof(value);
        else if (!strcmp(name, "--seconds")) options.seconds = atof(value);
        else if (!strcmp(name, "--timeout")) options.timeout = atof(value);
        else fail("unknown option %s", name);
    }
    const char *modes[] = {"ping", "broadcast", "open", "rate", "connect", "idle"};
    int known = 0;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) known |= !strcmp(options.mode, modes[i]);
    if (!known || !options.port || options.tokens_file == NULL || options.conns < 1) fail("a mode, --port and --tokens are needed");
    if (options.senders > options.conns) options.senders = options.conns;
    if ((*options.mode == 'o' || options.sessions > 1) && options.session == NULL) fail("--session names the sessions");
    if (options.messages && options.sessions > 1) fail("--messages are of one session");
    if (options.sessions < 1 || options.sessions > options.conns) fail("--sessions are at least 1, and no more than --conns");
    if (options.probes > options.conns) options.probes = options.conns;
    if (options.workers && *options.mode != 'o') fail("--workers are for the mode open");
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    prepare();
    if (*options.mode != 'c') open_all();
    if (*options.mode == 'i') hold();
    else load();
    return 0;
}
