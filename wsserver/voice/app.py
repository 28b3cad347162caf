"""The voice app: the handlers that a server calls, one caller for each connection that speaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

from wscore.payloads import AudioChunk, AudioStart, Interrupt, TextInput
from wsserver.sdk.app import App, fan_out
from wsserver.sdk.context import Context
from wsserver.sdk.hub import Hub
from wsserver.telemetry.clock import Clock
from wsserver.telemetry.logs import EventLog
from wsserver.voice.answering import SessionNumbers
from wsserver.voice.caller import Caller
from wsserver.voice.callerchannel import CallerChannel
from wsserver.voice.pipeline import Pipeline
from wsserver.voice.settings import VoiceSettings
from wsserver.voice.stagecalls import StageCalls
from wsserver.voice.stages import Stages


def voice_app(
    stages: Stages,
    settings: VoiceSettings,
    *,
    clock: Clock | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    log: EventLog | None = None,
) -> App:
    """Return the app that hears, understands, answers and speaks with these stages (see docs/voice.md).

    It opens and closes them with the server. `clock` and `sleep` are for tests: by them the playing of an answer
    is worked out.
    """
    app = App()
    callers: dict[str, Caller] = {}
    sessions: dict[str, SessionNumbers] = {}
    log = log or EventLog()
    timeout_s = settings.stage_timeout_ms / 1000
    pipeline = Pipeline(
        stages, settings.turns, StageCalls(settings.stage_timeout_ms), (clock or Clock()).now_s, sleep, log
    )

    def caller_of(ctx: Context) -> Caller:
        caller = callers.get(ctx.connection_id)
        if caller is None:
            channel = CallerChannel(ctx.hub, ctx.connection_id, ctx.session_id, log)
            numbers = sessions.setdefault(ctx.session_id, SessionNumbers())
            numbers.callers += 1
            caller = callers[ctx.connection_id] = Caller(pipeline, channel, timeout_s, numbers)
        return caller

    @app.lifespan
    async def running(hub: Hub) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            for stage in (stages.activity, stages.recognizer, stages.responder, stages.synthesizer):
                await stage.open()
                opened.push_async_callback(stage.close)
            yield
            # A connection whose disconnect hook was cut short by the end of the drain is still here.
            await asyncio.gather(*(caller.close() for caller in callers.values()))

    @app.on_disconnect
    async def left(ctx: Context) -> None:
        caller = callers.get(ctx.connection_id)
        if caller is not None:
            await caller.close(is_lost=ctx.is_lost)
            del callers[ctx.connection_id]
            caller.numbers.callers -= 1
            if not caller.numbers.callers:
                del sessions[ctx.session_id]

    app.on("message")(fan_out)

    @app.on("audio_start")
    async def audio_start(ctx: Context, data: AudioStart | None) -> None:
        await caller_of(ctx).audio_start(ctx, data or AudioStart())

    @app.on("audio_chunk")
    async def audio_chunk(ctx: Context, data: AudioChunk) -> None:
        await caller_of(ctx).audio_chunk(ctx, data)

    @app.on("audio_end")
    async def audio_end(ctx: Context) -> None:
        await caller_of(ctx).audio_end(ctx)

    @app.on("audio_clear")
    async def audio_clear(ctx: Context) -> None:
        await caller_of(ctx).audio_clear()

    @app.on("text_input")
    async def text_input(ctx: Context, data: TextInput) -> None:
        await caller_of(ctx).text_input(ctx, data)

    @app.on("interrupt")
    def interrupt(ctx: Context, data: Interrupt | None) -> None:
        # A plain function: it waits only while the handlers do, which is when the caller's own queue is full.
        if (caller := callers.get(ctx.connection_id)) is not None:
            caller.interrupt(data or Interrupt())

    return app
