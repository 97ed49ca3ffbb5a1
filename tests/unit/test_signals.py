# ruff: noqa: RUF001  # sentences of many scripts
"""What a prompt is: languages, personal data, and names that core and configuration share."""

from __future__ import annotations

import json
import random
from typing import Any

from dispatch._core import LANGUAGES, MODALITIES, PERSONAL, QUESTIONS, Judge
from dispatch.config.plans.conditions import CLOSED

SENTENCES = {
    "en": "Please explain in simple words how a bill becomes a law. | My train was late again this morning and I missed the meeting.",
    "de": "Bitte erkläre in einfachen Worten, wie ein Gesetz entsteht. | Mein Zug hatte heute Morgen wieder Verspätung.",
    "fr": "Explique avec des mots simples comment une loi est votée. | Mon train était encore en retard ce matin.",
    "es": "Explica con palabras sencillas cómo se aprueba una ley. | Mi tren llegó tarde otra vez esta mañana.",
    "it": "Spiega con parole semplici come nasce una legge. | Anche questa mattina il mio treno era in ritardo.",
    "pt": "Explique com palavras simples como uma lei é aprovada. | O meu comboio chegou atrasado outra vez esta manhã.",
    "nl": "Leg in eenvoudige woorden uit hoe een wet tot stand komt. | Mijn trein had vanochtend weer vertraging.",
    "sv": "Förklara med enkla ord hur en lag blir till. | Mitt tåg var försenat igen i morse och jag missade mötet.",
    "fi": "Selitä yksinkertaisin sanoin, miten laki syntyy. | Junani oli tänä aamuna taas myöhässä.",
    "pl": "Wyjaśnij prostymi słowami, jak powstaje ustawa. | Mój pociąg znowu się dziś rano spóźnił.",
    "cs": "Vysvětli jednoduchými slovy, jak vzniká zákon. | Můj vlak měl dnes ráno zase zpoždění a nestihl jsem schůzku.",
    "hu": "Magyarázd el egyszerű szavakkal, hogyan születik egy törvény. | Ma reggel megint késett a vonatom.",
    "ro": "Explică în cuvinte simple cum se adoptă o lege. | Trenul meu a întârziat din nou în această dimineață.",
    "tr": "Bir yasanın nasıl çıktığını basit sözcüklerle açıkla. | Trenim bu sabah yine gecikti ve toplantıyı kaçırdım.",
    "vi": "Hãy giải thích bằng lời đơn giản một đạo luật được thông qua thế nào. | Sáng nay tàu của tôi lại đến muộn.",
    "id": "Jelaskan dengan kata sederhana bagaimana sebuah undang-undang dibuat. | Kereta saya terlambat lagi pagi ini.",
    "ru": "Объясни простыми словами, как принимают закон. | Сегодня утром мой поезд снова опоздал.",
    "uk": "Поясни простими словами, як ухвалюють закон. | Сьогодні вранці мій потяг знову запізнився.",
    "bg": "Обясни с прости думи как се приема закон. | Тази сутрин влакът ми пак закъсня и изпуснах срещата.",
    "ar": "اشرح بكلمات بسيطة كيف يصدر القانون. | تأخر قطاري مرة أخرى هذا الصباح.",
    "fa": "با کلمات ساده توضیح بده که یک قانون چگونه تصویب می‌شود. | قطار من امروز صبح دوباره دیر رسید.",
    "hi": "सरल शब्दों में समझाइए कि कानून कैसे बनता है। | आज सुबह मेरी ट्रेन फिर से देर से आई।",
    "el": "Εξήγησε με απλά λόγια πώς ψηφίζεται ένας νόμος. | Το τρένο μου άργησε πάλι σήμερα το πρωί.",
    "he": "הסבר במילים פשוטות איך מתקבל חוק. | הרכבת שלי איחרה שוב הבוקר.",
    "th": "ช่วยอธิบายด้วยคำง่าย ๆ ว่ากฎหมายเกิดขึ้นได้อย่างไร | เช้านี้รถไฟของฉันมาสายอีกแล้ว",
    "ko": "법이 어떻게 만들어지는지 쉬운 말로 설명해 주세요. | 오늘 아침에 기차가 또 늦었어요.",
    "ja": "法律がどのように作られるのか、簡単な言葉で説明してください。 | 今朝も電車が遅れました。",
    "zh": "请用简单的话解释一部法律是如何通过的。 | 今天早上我的火车又晚点了。",
}
"""Written for this test; two to a language."""

WORDS = (
    "the order of last week",
    "we met at noon",
    "it costs more than before",
    "please answer soon",
    "chapter three, page 40",
    "as agreed",
)


def read(text: str, *signals: str) -> dict[str, Any]:
    body = b'{"messages":[{"role":"user","content":' + _quoted(text) + b"}]}"
    return Judge(signals, [], None, None, None, []).read(body, []).facts


def _quoted(text: str) -> bytes:
    return json.dumps(text).encode()


def test_core_and_configuration_name_the_same_things() -> None:
    assert CLOSED["modality"] == tuple(MODALITIES)
    assert CLOSED["personal"] == tuple(PERSONAL)
    assert CLOSED["question"] == (*QUESTIONS, "other")
    assert CLOSED["language"] == tuple(LANGUAGES)


def test_at_least_97_of_100_sentences_are_taken_for_their_language() -> None:
    wrong = []
    count = 0
    for code, texts in SENTENCES.items():
        for text in texts.split(" | "):
            count += 1
            found = read(text, "language")["language"]
            if found != code:
                wrong.append((code, found, text))
    assert len(wrong) <= 0.03 * count, wrong


def made(kind: str, rng: random.Random) -> str:
    """A piece of personal data of a kind, in one of its usual forms."""
    digits = "".join(str(rng.randrange(10)) for _ in range(20))
    match kind:
        case "email":
            return f"{rng.choice(['ann', 'bo.lee', 'c_d', 'e+f'])}{digits[:2]}@{rng.choice(['mail.example.org', 'firma.de', 'x-y.co.uk'])}"
        case "phone":
            forms = [
                "+49 30 9{0}",
                "+1 (415) 55{1}-{2}",
                "(212) 55{1}-{2}",
                "212-55{1}-{2}",
                "030 9{0}",
                "0044 20 79{1} {2}",
                "+33 6 {3} {4}",
            ]
            return rng.choice(forms).format(digits[:6], digits[6], digits[7:11], digits[11:13], digits[13:19])
        case "iban":
            body = rng.choice([("DE", 18), ("GB", 18), ("FR", 23), ("NL", 14)])
            account = (digits * 2)[: body[1]] if body[0] != "GB" else "WEST" + digits[:14]
            number = int("".join(str(int(sign, 36)) for sign in account + body[0] + "00"))
            whole = f"{body[0]}{98 - number % 97:02d}{account}"
            return whole if rng.random() < 0.5 else " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))
        case "card":
            first = rng.choice(["4", "51", "37", "6011"])
            length = 15 if first == "37" else 16
            whole = (first + digits)[: length - 1]
            total = sum(sum(divmod(int(one) * 2, 10)) if at % 2 == 0 else int(one) for at, one in enumerate(reversed(whole)))
            whole += str(-total % 10)
            return whole if length == 15 or rng.random() < 0.5 else " ".join(whole[at : at + 4] for at in range(0, 16, 4))
        case "ssn":
            return f"{rng.randrange(1, 665):03d}-{rng.randrange(1, 99):02d}-{rng.randrange(1, 9999):04d}"
        case _:
            return rng.choice([f"10.{rng.randrange(255)}.{rng.randrange(255)}.7", f"2001:db8::{rng.randrange(4096):x}:7334"])


def harmless(rng: random.Random) -> str:
    """Something that looks a little like personal data, and is none."""
    number = rng.randrange(10**8, 10**9)
    return rng.choice(
        [
            f"on 20{rng.randrange(10, 30)}-0{rng.randrange(1, 10)}-1{rng.randrange(10)}",
            f"at {rng.randrange(10, 24)}:{rng.randrange(10, 60)}:07",
            f"${number:,}.50",
            f"version {rng.randrange(9)}.{rng.randrange(99)}.{rng.randrange(99)}",
            f"order no. {number}{number}1",
            f"pi is 3.14159{number}",
            f"ISBN 978-3-16-{rng.randrange(100000, 999999)}-0",
            f"commit {number:x}{number:x}",
            f"pages {rng.randrange(100)}-{rng.randrange(100, 300)}",
            "user@localhost",
            f"the year {rng.randrange(1900, 2030)}",
        ]
    )


def test_personal_data_are_found_and_what_looks_like_them_is_left_alone() -> None:
    """Precision and recall on 3,000 generated texts, each kind by itself."""
    rng = random.Random(5)
    hits: dict[str, list[int]] = {kind: [0, 0, 0] for kind in PERSONAL}
    for at in range(3000):
        kind = PERSONAL[at // 2 % 6] if at % 2 else None
        inside = made(kind, rng) if kind else harmless(rng)
        text = f"{rng.choice(WORDS)} {inside} {rng.choice(WORDS)}"
        found = set(read(text, "personal")["personal"])
        for one in PERSONAL:
            hits[one][0] += one in found and one == kind
            hits[one][1] += one in found and one != kind
            hits[one][2] += one not in found and one == kind
    shown = {kind: (right / (right + wrong), right / (right + missed)) for kind, (right, wrong, missed) in hits.items() if right}
    assert len(shown) >= 3, hits
    assert all(precision >= 0.97 and recall >= 0.97 for precision, recall in shown.values()), (shown, hits)
