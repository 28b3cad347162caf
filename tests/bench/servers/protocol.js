// What both JavaScript servers share: tokens, envelopes and the numbers of the protocol (docs/protocol.md).
import { randomUUID } from "node:crypto";
import jwt from "jsonwebtoken";

export const HEARTBEAT_INTERVAL_MS = Number(process.env.BENCH_HEARTBEAT_INTERVAL_MS ?? 25_000);
export const HEARTBEAT_TIMEOUT_MS = Number(process.env.BENCH_HEARTBEAT_TIMEOUT_MS ?? 60_000);
export const MAX_MESSAGE_BYTES = 1 << 20;

const SECRET = process.env.BENCH_JWT_SECRET;
const GUEST =
  /^guest_([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})_([0-9]{1,16})$/i;
const GUEST_TTL_MS = 24 * 60 * 60 * 1000;
const MAX_FUTURE_MS = 60_000;

/** Returns who connects, or null when the token is refused. */
export function authenticate(token) {
  if (!token) return null;
  const guest = GUEST.exec(token);
  if (guest) {
    const issued = Number(guest[2]);
    const now = Date.now();
    if (issued > now + MAX_FUTURE_MS || now >= issued + GUEST_TTL_MS) return null;
    return { userId: "guest_" + guest[1].toLowerCase(), isGuest: true };
  }
  try {
    const claims = jwt.verify(token, SECRET, { algorithms: ["HS256"], clockTolerance: 30 });
    return claims.sub && claims.exp ? { userId: claims.sub, isGuest: false } : null;
  } catch {
    return null;
  }
}

/** Reads the query of a request target and returns the state of a new connection, or null. */
export function admit(target) {
  const query = new URLSearchParams(target.slice(target.indexOf("?") + 1));
  const principal = authenticate(query.get("token"));
  if (principal === null) return null;
  return {
    id: randomUUID(),
    userId: principal.userId,
    isGuest: principal.isGuest,
    sessionId: query.get("sessionId") || randomUUID(),
    lastSeen: Date.now(),
  };
}

export function greeting(connection) {
  return JSON.stringify({
    type: "session_created",
    timestamp: Date.now(),
    sessionId: connection.sessionId,
    data: {
      sessionId: connection.sessionId,
      userId: connection.userId,
      isGuest: connection.isGuest,
      connectionId: connection.id,
      heartbeat: { intervalMs: HEARTBEAT_INTERVAL_MS, timeoutMs: HEARTBEAT_TIMEOUT_MS },
      limits: { maxMessageBytes: MAX_MESSAGE_BYTES },
    },
  });
}

/** Handles one text message: `send` answers the sender, `broadcast` reaches its session. */
export function handle(connection, text, send, broadcast) {
  connection.lastSeen = Date.now();
  let envelope;
  try {
    envelope = JSON.parse(text);
  } catch {
    envelope = null;
  }
  if (typeof envelope?.type !== "string" || !Number.isInteger(envelope.timestamp)) {
    send(errorEnvelope("INVALID_MESSAGE", "not an envelope"));
    return;
  }
  if (envelope.type === "ping") {
    const now = Date.now();
    send(
      JSON.stringify({
        type: "pong",
        timestamp: now,
        sessionId: connection.sessionId,
        data: { timestamp: now },
        id: envelope.id,
      }),
    );
  } else if (envelope.type === "message") {
    broadcast(
      JSON.stringify({
        type: "message",
        timestamp: Date.now(),
        sessionId: connection.sessionId,
        data: envelope.data,
        userId: connection.userId,
      }),
    );
  }
}

export function errorEnvelope(code, message) {
  return JSON.stringify({ type: "error", timestamp: Date.now(), data: { code, message, retryable: false } });
}

/** Pings everyone each interval; `each` calls back with (connection, send, close) for every connection. */
export function startHeartbeat(each) {
  setInterval(() => {
    const now = Date.now();
    const ping = JSON.stringify({ type: "ping", timestamp: now, data: { timestamp: now } });
    each((connection, send, close) => {
      if (now - connection.lastSeen > HEARTBEAT_TIMEOUT_MS) close(4002, "Connection timeout");
      else send(ping);
    });
  }, HEARTBEAT_INTERVAL_MS);
}
