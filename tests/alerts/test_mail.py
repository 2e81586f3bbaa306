"""Mail sent to a real SMTP server, and the error messages if the server does not accept it."""

import pytest
from support.mail import PASSWORD, RECEIVER, SENDER, PostOffice
from support.ports import free_port

from emm_pipeline.alerts import mail
from emm_pipeline.alerts.mail import MailError, MailServer, compose, send

MESSAGE = compose(SENDER, RECEIVER, "EMM: 1 failing", "meter 5 (Küche) fails\n")


def server_of(office: PostOffice, password: str = PASSWORD) -> MailServer:
    return MailServer("127.0.0.1", office.port, SENDER, password)


def test_a_mail_arrives_over_tls_after_a_login(post_office):
    assert send(server_of(post_office), MESSAGE) == []
    (got,) = post_office.mails
    assert (got["From"], got["To"], got["Subject"]) == (SENDER, RECEIVER, "EMM: 1 failing")
    assert post_office.bodies() == ["meter 5 (Küche) fails\n"]
    assert post_office.was_encrypted == [True]
    assert post_office.logins == [SENDER]
    assert got["Message-ID"].endswith("@farm.example>")


def test_a_mail_arrives_over_implicit_tls_on_its_port(tmp_path, monkeypatch):
    office = PostOffice(tmp_path, "implicit")
    monkeypatch.setenv("SSL_CERT_FILE", str(office.certificate))
    # 465 itself may be closed to this user
    monkeypatch.setattr(mail, "IMPLICIT_TLS_PORT", office.port)
    office.on()
    try:
        send(server_of(office), MESSAGE)
    finally:
        office.off()
    assert office.was_encrypted == [True]
    assert office.logins == [SENDER]


def test_a_server_without_a_trusted_certificate_gets_neither_mail_nor_password(post_office, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(MailError, match="certificate"):
        send(server_of(post_office), MESSAGE)
    assert post_office.mails == post_office.logins == []


def test_the_password_is_not_sent_where_the_server_offers_no_tls(tmp_path):
    office = PostOffice(tmp_path, "none")
    office.on()
    try:
        with pytest.raises(MailError, match="unencrypted") as caught:
            send(server_of(office), MESSAGE)
        assert office.logins == []
        assert PASSWORD not in str(caught.value)
    finally:
        office.off()


def test_a_relay_without_tls_and_login_takes_a_mail_without_password(tmp_path):
    office = PostOffice(tmp_path, "none")
    office.on()
    try:
        send(server_of(office, password=""), MESSAGE)
    finally:
        office.off()
    assert office.was_encrypted == [False]


def test_a_wrong_password_is_reported_without_showing_it(post_office):
    with pytest.raises(MailError, match="LOGGER_SENDER_EMAIL_PASSWORD") as caught:
        send(server_of(post_office, password="wrong-one"), MESSAGE)
    assert "wrong-one" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "wrong-one" not in repr(server_of(post_office, password="wrong-one"))


def test_a_server_that_is_unavailable_is_named_with_its_port():
    port = free_port()
    with pytest.raises(MailError, match=rf"127\.0\.0\.1:{port}.*refused"):
        send(MailServer("127.0.0.1", port), MESSAGE)


def test_if_one_of_two_receivers_is_refused_the_other_gets_the_mail_and_the_refused_one_is_returned(post_office):
    post_office.refused = {"gone@farm.example"}
    both = compose(SENDER, f"{RECEIVER}, gone@farm.example", "EMM: 1 failing", "x\n")
    assert send(server_of(post_office), both) == ["gone@farm.example"]
    assert len(post_office.mails) == 1


def test_a_mail_that_no_receiver_accepts_is_a_failure(post_office):
    post_office.refused = {RECEIVER}
    with pytest.raises(MailError, match="LOGGER_RECEIVER_EMAIL_ADDRESS"):
        send(server_of(post_office), MESSAGE)
