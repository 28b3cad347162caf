"""The `WSCTL_*` variables, so that a misspelt one is told without loading every command to know its options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cli.output import note
from wscore.errors import ConfigError

ENV_PREFIX: Final = "WSCTL_"
APP_PREFIX: Final = "WSCTL_APP_"  # the settings of an app's own, see cli/appsettings.py

# Every option of every command, and what has no option; a test compares them. What belongs to another command is known.
_NAMES: Final = """
ABORT_ON_FAIL ADDRESS ALLOWED_HOST APP ASR_KEY ASR_KEY_FILE ASR_MODEL ASR_URL AUDIENCE AUTO_PONG
BARGE_IN BASE64 BASELINE BEAT BEAT_ANSWER BEFORE BROKER BROKER_BEFORE BROKER_PREFIX BUFFERED BY BYTE_RATE_LIMIT
CA CAPTURE CEILING CERT CHANNEL CLAIM CLOSE_CODE CODE COMPRESSION CONFIG CONNECTING_URL CONNECTION CONNECTIONS
CONNECT_RATE COOKIE COUNT
DATA DATA_KEY DEBUG DRAIN DRAIN_TIMEOUT DURATION
ECHO_PATH END_SILENCE ENGINE EXCEPT_SENDER EXPECT EXPECT_WORKERS
FAST FILTER FORWARDED_HEADER FORWARDED_HOST
GGUF GITHUB GRAMMAR GREETING GUESTS GUEST_TTL
HANDSHAKE_TIMEOUT HEADER HEARTBEAT HEARTBEAT_EVERY HEARTBEAT_INTERVAL HEARTBEAT_TIMEOUT HELLO HEX HOST
IDEMPOTENCY_KEY ID_KEY INSECURE INTERVAL ISSUED_BEFORE ISSUER
JSON JTI JWKS_FILE JWT_ALGORITHM JWT_PUBLIC_KEY JWT_SECRET JWT_SECRET_ENCODING JWT_SECRET_FILE
KEEP KEEP_TIMESTAMPS KEY KIND
LIMIT LINGER LLM_KEY LLM_KEY_FILE LLM_MODEL LLM_URL LOG_FORMAT LOG_LEVEL LOSSY
MASTER MAX_CONNECTIONS MAX_CONNECTIONS_PER_IP MAX_CONNECTIONS_PER_USER MAX_INBOUND_MEMORY MAX_INBOUND_PER_CONNECTION
MAX_MESSAGE_SIZE MAX_OUTBOUND_MEMORY MAX_OUTBOUND_PER_CONNECTION MAX_PENDING MAX_PENDING_PER_IP MAX_ROOMS
MAX_ROOM_MEMORY MAX_SIZE MAX_TURN MESSAGE METRICS_PORT
NO_TOKEN
OLDER ON_OPEN OPEN OPS_HOST OPS_KEY OPS_KEYS_FILE OPS_KEY_FILE OPS_PORT OPS_READ_KEY OPS_READ_KEY_FILE OPS_URL
ORDER ORIGIN OTLP OUT
PATH PAYLOAD_BYTES PING_INTERVAL PING_TIMEOUT PLAIN PORT PREFIX PROCESSES PROFILE PROTOCOL PROXY PROXY_PROTOCOL
PUBLISHERS
RAMP RATE RATE_LIMIT RAW REASON RECOGNIZER RECONNECT RECORD RECOVERY_AGE RECOVERY_MEMORY RECOVERY_MESSAGES
RECOVERY_SIZE RELOAD REMOVE REPLY REPLY_KEY REPLY_TIMEOUT REPLY_TYPE RESPONDER ROOM ROOMS
SAVE SCOPE SCOPE_CLAIM SEND SENDER SEND_FILE SERVE SESSION SESSIONS SESSION_CLAIM SESSION_JOIN SID SIGNED SPEED STAGES
START STEP SUB SUBPROTOCOL SYNTHESIZER
TEMPLATES TEXT THEME THINK THRESHOLD TIMEOUT TLS_CERT TLS_KEY TO TOKEN TOKEN_FILE TOLERANCE TO_ROOM TO_SESSION TO_USER
TRUSTED_PROXY TTL TTS_KEY TTS_KEY_FILE TTS_MODEL TTS_URL TYPE TYPED TYPE_KEY
UDS UDS_MODE UNTIL URL USER USERS USER_CLAIM USER_FILE
VERBOSE VOICE VOICE_NAME VOICE_TIMEOUT VOICE_WORKERS
WAV WEB WEBHOOK WEBHOOK_EVENTS WEBHOOK_MEMORY WEBHOOK_SECRET WEBHOOK_SECRET_FILE WHISPER_MODEL WHO WORKER WORKERS
YES YOUNGER
"""
KNOWN: Final = frozenset(_NAMES.split())
# Two letters changed places in a word of four: difflib's measure for PROT and PORT.
_SIMILARITY: Final = 0.75


def variable_of(setting: str) -> str:
    """Return the environment variable of a setting, given its name with dashes or underscores."""
    return ENV_PREFIX + setting.upper().replace("-", "_")


def in_environment(option: str) -> str:
    """Say where the value of a command line's option can be that others must not read."""
    return f"set {variable_of(option.lstrip('-'))}, or write it into wsctl.toml"


def check_variables(names: Iterable[str]) -> None:
    """Raise ConfigError for a variable that is nearly one of ours; what is like none is told, and left alone.

    It may belong to the app that runs, or to the system: Kubernetes sets such names for a service called wsctl.
    """
    unknown = [
        name
        for name in names
        if name.startswith(ENV_PREFIX)
        and not name.startswith(APP_PREFIX)
        and name.removeprefix(ENV_PREFIX) not in KNOWN
    ]
    if not unknown:
        return
    from difflib import get_close_matches

    for name in sorted(unknown):
        if close := get_close_matches(name.removeprefix(ENV_PREFIX).upper(), KNOWN, 1, _SIMILARITY):
            raise ConfigError(name, "there is no such setting", f"did you mean {ENV_PREFIX}{close[0]}?")
    note(f"{', '.join(sorted(unknown))}: no setting of wsctl, so it does nothing here")
